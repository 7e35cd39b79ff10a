// Package tty is terminals: the N_TTY line discipline, pseudo-terminal pairs,
// and job control as far as terminals take part in it.
//
// A TTY is a pair: the terminal that programs talk to (the slave) with its line
// discipline and settings, and the master's side, which plays the part of the
// wire. Bytes written to the master go through the line discipline's input rules into the
// read buffer of the slave, echoes and what the slave writes go through the output
// rules into the master's queue. Master and Slave are the open files.
//
// What a terminal must know of processes (sessions, process groups, signals) it asks
// through the interfaces in jobcontrol.go, which the sentry implements.
//
// Lock order:
//
//	TTY.mu
//	  locks of package mm (bytes go to and from the guest under TTY.mu)
//	  locks of the sentry that Group and Session methods take for queries
//	    locks of the waitq.Queues
//
// Signals that input causes are collected under TTY.mu and sent after it is let go.
package tty
