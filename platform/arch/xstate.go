package arch

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Layout of an XSAVE image in the standard form.
const (
	FXSaveSize  = 512
	XSaveHeader = 64 // behind it
	FXSaveMXCSR = 24

	xstateBV = 512 // which components are not in their initial state
	xcompBV  = 520
)

// XState is what the processor's floating point state can be.
type XState struct {
	Init      []byte // the initial state, as an image
	MXCSRMask uint32 // the bits that MXCSR may have
	Features  uint64 // the components that images may have
}

// Complete makes full, as long as Init, of an image of any legal size. It returns EINVAL for what the processor would reject.
func (x *XState) Complete(full, image []byte) error {
	if len(image) < FXSaveSize {
		return unix.EINVAL
	}
	le := binary.LittleEndian
	copy(full, x.Init)
	if n := copy(full, image); n < FXSaveSize+XSaveHeader { // FXSAVE only: x87 and SSE
		copy(full[FXSaveSize:], x.Init[FXSaveSize:])
		le.PutUint64(full[xstateBV:], 3)
	}
	if le.Uint32(full[FXSaveMXCSR:])&^x.MXCSRMask != 0 || le.Uint64(full[xcompBV:]) != 0 || le.Uint64(full[xstateBV:])&^x.Features != 0 {
		return unix.EINVAL
	}
	return nil
}
