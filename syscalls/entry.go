package syscalls

import (
	"gosv.dev/platform"
	"gosv.dev/sentry"
)

// Support says how complete a call is.
type Support uint8

const (
	// Missing calls return ENOSYS and are logged once.
	Missing Support = iota
	// Full: everything its manual page says, for every kind of object there is.
	Full
	// Partial: what is missing returns an error and stands in Note.
	Partial
	// Gone: Linux itself answers ENOSYS (or the fixed errno of the handler) on x86-64.
	Gone
)

// Depth says how deep a call has to go.
type Depth uint8

const (
	// Whole calls may do anything.
	Whole Depth = iota
	// Leaf calls need not enter the sentry where the platform can answer them: by Entry.Leaf, or, without one, with a result that stays as it is until
	// the sentry changes it (sentry/answer.go).
	Leaf
)

// Entry is one system call.
type Entry struct {
	Name    string
	Support Support
	Depth   Depth
	// Args describes the arguments for the strace log: a word an argument,
	// "name:kind" (see strace.go for the kinds), in order.
	Args string
	// Note says what is missing in a Partial call.
	Note string
	Fn   Handler
	// Leaf is what a platform may have the guest's thread do first.
	Leaf platform.LeafFunc
	// LeafFor tells for which calls it does, if not for all: only where the last one that was made is like that is Leaf tried with the next.
	LeafFor func(t *sentry.Task, a *[6]uint64) bool
}

// Handler is a call with untyped arguments; h0 to h6 make it from a typed function.
type Handler func(t *sentry.Task, a *[6]uint64) (uintptr, error)

// makes is for calls that make an object that the sentry keeps for the guest: they fail with
// ENOMEM when the sandbox has no memory for more.
func makes(h Handler) Handler {
	return func(t *sentry.Task, a *[6]uint64) (uintptr, error) {
		if err := t.Kernel().Memory.KernelRoom(false); err != nil {
			return 0, err
		}
		return h(t, a)
	}
}

// keeps is makes for objects that do not go with their process.
func keeps(h Handler) Handler {
	return func(t *sentry.Task, a *[6]uint64) (uintptr, error) {
		if err := t.Kernel().Memory.KernelRoom(true); err != nil {
			return 0, err
		}
		return h(t, a)
	}
}

// arg are the types that an argument register can be read as: conversion truncates, as the C
// prototype of the call does.
type arg interface {
	~int32 | ~uint32 | ~int64 | ~uint64 | ~uint8 | ~uint16
}

func h0(f func(*sentry.Task) (uintptr, error)) Handler {
	return func(t *sentry.Task, _ *[6]uint64) (uintptr, error) { return f(t) }
}

func h1[A arg](f func(*sentry.Task, A) (uintptr, error)) Handler {
	return func(t *sentry.Task, a *[6]uint64) (uintptr, error) { return f(t, A(a[0])) }
}

func h2[A, B arg](f func(*sentry.Task, A, B) (uintptr, error)) Handler {
	return func(t *sentry.Task, a *[6]uint64) (uintptr, error) { return f(t, A(a[0]), B(a[1])) }
}

func h3[A, B, C arg](f func(*sentry.Task, A, B, C) (uintptr, error)) Handler {
	return func(t *sentry.Task, a *[6]uint64) (uintptr, error) {
		return f(t, A(a[0]), B(a[1]), C(a[2]))
	}
}

func h4[A, B, C, D arg](f func(*sentry.Task, A, B, C, D) (uintptr, error)) Handler {
	return func(t *sentry.Task, a *[6]uint64) (uintptr, error) {
		return f(t, A(a[0]), B(a[1]), C(a[2]), D(a[3]))
	}
}

func h5[A, B, C, D, E arg](f func(*sentry.Task, A, B, C, D, E) (uintptr, error)) Handler {
	return func(t *sentry.Task, a *[6]uint64) (uintptr, error) {
		return f(t, A(a[0]), B(a[1]), C(a[2]), D(a[3]), E(a[4]))
	}
}

func h6[A, B, C, D, E, F arg](f func(*sentry.Task, A, B, C, D, E, F) (uintptr, error)) Handler {
	return func(t *sentry.Task, a *[6]uint64) (uintptr, error) {
		return f(t, A(a[0]), B(a[1]), C(a[2]), D(a[3]), E(a[4]), F(a[5]))
	}
}
