package cuda

import "errors"

var (
	// ErrNotBuilt is what Find returns in a program built without the tag gpu.
	ErrNotBuilt = errors.New("cuda: this program was built without GPU support; use the metrix-gpu image, or bin/metrix-gpu and bin/worker-gpu, which 'make gpu' builds")
	// ErrDeviceLost is wrapped by the error of every call after which this process cannot use its card
	// any more (the driver logs an Xid). The fault is the card's, not the user's: the worker should leave
	// so that its shards move on, and may be started again.
	ErrDeviceLost = errors.New("the card is lost to this process: look for Xid in dmesg")
)
