// Package netstack is sockets: what all socket families have in common, and the
// registry of the families of a network namespace. Families are sub-packages.
//
// A Socket is what a family implements: a vfs.FileOps with the socket calls
// besides. Like all files its methods never block; they return EAGAIN (Connect:
// EAGAIN or EINPROGRESS) and notify their queue. The functions Accept, Connect, Send
// and Recv of this package wait, with the timeouts of SO_RCVTIMEO and SO_SNDTIMEO.
//
// Lock order: Options.mu is taken last.
package netstack
