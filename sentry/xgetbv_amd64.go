package sentry

// xgetbv reads XCR0, the components of the processor's state that the host has enabled. Every
// processor that gosv runs on has it: the ptrace platform already asks the host for XSAVE images.
func xgetbv() uint64
