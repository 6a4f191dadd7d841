package probe

import (
	"errors"
	"fmt"
	"runtime"
)

// Memory is a card's memory in bytes: what is free, for all programs together, and all of it. device
// counts the visible cards from 0. It opens the card's primary context for the question.
func Memory(device int) (free, total uint64, err error) {
	l, err := open(driverName)
	if err != nil {
		return 0, 0, err
	}
	var (
		start   func(flags uint32) int32
		get     func(device *int32, ordinal int32) int32
		retain  func(context *uintptr, device int32) int32
		release func(device int32) int32
		push    func(context uintptr) int32
		pop     func(context *uintptr) int32
		info    func(free, total *uint64) int32
	)
	if err := l.bind(map[string]any{
		"cuInit": &start, "cuDeviceGet": &get, "cuDevicePrimaryCtxRetain": &retain, "cuDevicePrimaryCtxRelease_v2": &release,
		"cuCtxPushCurrent_v2": &push, "cuCtxPopCurrent_v2": &pop, "cuMemGetInfo_v2": &info,
	}); err != nil {
		return 0, 0, err
	}
	runtime.LockOSThread() // a context belongs to a thread
	defer runtime.UnlockOSThread()
	var card int32
	var context uintptr
	if code := start(0); code != 0 {
		return 0, 0, errors.New(initProblem(code))
	}
	if code := get(&card, int32(device)); code != 0 {
		return 0, 0, fmt.Errorf("there is no GPU %d (code %d)", device, code)
	}
	if code := retain(&context, card); code != 0 {
		return 0, 0, fmt.Errorf("GPU %d does not open (code %d)", device, code)
	}
	defer release(card)
	if code := push(context); code != 0 {
		return 0, 0, fmt.Errorf("GPU %d does not open (code %d)", device, code)
	}
	defer pop(&context)
	if code := info(&free, &total); code != 0 {
		return 0, 0, fmt.Errorf("GPU %d does not tell its memory (code %d)", device, code)
	}
	return free, total, nil
}
