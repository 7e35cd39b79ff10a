// Package dev is the character devices that every container has: null, zero, full,
// random, urandom, kmsg, tty, console and ptmx, and the population of /dev.
//
// It has no locks of its own but Kmsg's, which is taken last.
package dev
