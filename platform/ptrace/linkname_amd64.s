// This file is here so that the compiler accepts functions without a body (host_unsafe.go).
