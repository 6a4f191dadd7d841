package onednn

import (
	"fmt"
	"unsafe"

	"github.com/ebitengine/purego"
)

// library is the loaded shim.
type library struct {
	path    string
	version string
	block   int // channels side by side in a vector: 16 with AVX-512, otherwise 8
	bf16    int // 2 in hardware, 1 emulated, 0 not worth having

	newConv, freeConv                    uintptr
	convWeights, convScratch, convPacked uintptr
	alloc                                func(bytes int64) unsafe.Pointer
	free                                 func(p unsafe.Pointer, bytes int64)
	errorOf                              func(conv uintptr) string

	run, pack uintptr
	kernels   [2]kernels // by precision
}

// kernels are the addresses of the shim's kernels for one type of activations.
type kernels struct {
	pack, plain, unblock, unplain    uintptr
	stats, affine, reduce, slope     uintptr
	relu, join, maxpool, maxpoolBack uintptr
	avgmax, avgmaxBack, l2, l2Back   uintptr
	hash, unpack, fold, scale        uintptr
}

// abi is METRIX_ABI of shim.h.
const abi = 2

// load opens the shim at path and starts oneDNN.
func load(path string) (*library, error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("onednn: loading %s: %w", path, err)
	}
	l := &library{path: path}
	var start, block, bf16, version, number func() int64
	var kernel func(name string, bf16 int64) uintptr
	for name, target := range map[string]any{
		"mx_start": &start, "mx_abi": &number, "mx_block": &block, "mx_bf16": &bf16, "mx_version": &version, "mx_kernel": &kernel,
		"mx_alloc": &l.alloc, "mx_free": &l.free, "mx_conv_error": &l.errorOf,
	} {
		address, err := purego.Dlsym(handle, name)
		if err != nil {
			return nil, fmt.Errorf("onednn: %s lacks %s: rebuild it: %w", path, name, err)
		}
		purego.RegisterFunc(target, address)
	}
	for name, target := range map[string]*uintptr{
		"mx_conv": &l.newConv, "mx_conv_free": &l.freeConv, "mx_conv_run": &l.run, "mx_conv_pack": &l.pack,
		"mx_conv_weights": &l.convWeights, "mx_conv_scratch": &l.convScratch, "mx_conv_blocked": &l.convPacked,
	} {
		if *target, err = purego.Dlsym(handle, name); err != nil {
			return nil, fmt.Errorf("onednn: %s lacks %s: rebuild it: %w", path, name, err)
		}
	}
	if n := number(); n != abi {
		return nil, fmt.Errorf("onednn: %s has interface %d, this program %d: rebuild it", path, n, abi)
	}
	switch start() {
	case 0:
	case 2:
		return nil, fmt.Errorf("onednn: %s: this oneDNN is built for TBB or a GPU runtime: use one built for OpenMP, as Debian's", path)
	default:
		return nil, fmt.Errorf("onednn: %s: oneDNN has no engine for this processor", path)
	}
	v := version()
	l.version = fmt.Sprintf("%d.%d.%d", v/10000, v/100%100, v%100)
	l.block, l.bf16 = int(block()), int(bf16())
	return l, l.lookUp(kernel)
}

func (l *library) lookUp(kernel func(string, int64) uintptr) error {
	for i := range l.kernels {
		k := &l.kernels[i]
		for name, target := range map[string]*uintptr{
			"pack": &k.pack, "plain": &k.plain, "unblock": &k.unblock, "unplain": &k.unplain,
			"stats": &k.stats, "affine": &k.affine, "reduce": &k.reduce, "slope": &k.slope,
			"relu": &k.relu, "join": &k.join, "maxpool": &k.maxpool, "maxpool_back": &k.maxpoolBack,
			"avgmax": &k.avgmax, "avgmax_back": &k.avgmaxBack, "l2": &k.l2, "l2_back": &k.l2Back,
			"hash": &k.hash, "unpack": &k.unpack, "fold": &k.fold, "scale": &k.scale,
		} {
			if *target = kernel(name, int64(i)); *target == 0 {
				return fmt.Errorf("onednn: %s lacks the kernel %s: rebuild it", l.path, name)
			}
		}
	}
	return nil
}
