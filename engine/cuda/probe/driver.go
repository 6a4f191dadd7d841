package probe

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
)

// Machine is what a machine has for the CUDA engine.
type Machine struct {
	// Driver is libcuda.so.1; its version is the kernel module's.
	Driver Library `json:"driver"`
	// CUDA is the newest version of CUDA that the driver serves, such as "12.8".
	CUDA    string   `json:"cuda,omitempty"`
	Devices []Device `json:"devices"`
	CuDNN   Library  `json:"cudnn"`
	CuBLAS  Library  `json:"cublas"`
}

// Device is one card.
type Device struct {
	Name string `json:"name"`
	// Capability is the card's compute capability, such as "9.0".
	Capability string `json:"capability"`
	// MemoryBytes is all of its memory.
	MemoryBytes uint64 `json:"memory_bytes"`
	// Multiprocessors is their number.
	Multiprocessors int `json:"multiprocessors"`
}

// OldestCUDA is the oldest version of CUDA, as the driver counts (1000 major + 10 minor), with which the
// libraries of CUDA 12 work.
const OldestCUDA = 12000

// Problem is the first thing that keeps the CUDA engine from working here, with its remedy; empty if
// there is none.
func (m *Machine) Problem() string {
	for _, l := range []Library{m.Driver, m.CuDNN, m.CuBLAS} {
		if l.Problem != "" {
			return l.Problem
		}
	}
	return ""
}

// Look asks driver and libraries.
func Look() *Machine {
	m := &Machine{Devices: []Device{}}
	m.lookAtDriver()
	m.CuBLAS = cublas() // first: cuDNN needs it
	m.CuDNN = cudnn()
	return m
}

// Devices is the number of cards that the driver shows this process, 0 without a driver.
func Devices() int {
	var m Machine
	m.lookAtDriver()
	return len(m.Devices)
}

// driver is the few functions that are asked here.
type driver struct {
	init      func(flags uint32) int32
	version   func(v *int32) int32
	count     func(n *int32) int32
	get       func(device *int32, ordinal int32) int32
	name      func(text *byte, length, device int32) int32
	attribute func(value *int32, attribute, device int32) int32
	memory    func(bytes *uint64, device int32) int32
}

// CUdevice_attribute.
const (
	multiprocessors = 16
	capabilityMajor = 75
	capabilityMinor = 76
)

func (m *Machine) lookAtDriver() {
	l, err := open(driverName)
	if err != nil {
		m.Driver.Problem = "no NVIDIA driver: " + notFound(err.Error(), driverName) +
			": install the driver, version 525 or newer; in a container, start it with its GPUs (docker run --gpus all, or nvidia.com/gpu in the pod's limits)"
		return
	}
	m.Driver = l
	m.Driver.Version = moduleVersion()
	var d driver
	if err := l.bind(map[string]any{
		"cuInit": &d.init, "cuDriverGetVersion": &d.version, "cuDeviceGetCount": &d.count, "cuDeviceGet": &d.get,
		"cuDeviceGetName": &d.name, "cuDeviceGetAttribute": &d.attribute, "cuDeviceTotalMem_v2": &d.memory,
	}); err != nil {
		m.Driver.Problem = err.Error() + ": it is too old or not NVIDIA's: install the driver, version 525 or newer"
		return
	}
	var version, n int32
	if d.version(&version) == 0 {
		m.CUDA = fmt.Sprintf("%d.%d", version/1000, version%1000/10)
	}
	code := d.init(0)
	if code == 0 {
		code = d.count(&n)
	}
	switch {
	case code != 0:
		m.Driver.Problem = initProblem(code)
	case n == 0:
		m.Driver.Problem = initProblem(noDevice)
	case version < OldestCUDA:
		m.Driver.Problem = fmt.Sprintf("the NVIDIA driver serves CUDA %s: update it to version 525 or newer", m.CUDA)
	}
	if code != 0 {
		return
	}
	for i := range n {
		m.Devices = append(m.Devices, d.device(i))
	}
}

func (d *driver) device(ordinal int32) Device {
	var device, major, minor, processors int32
	var memory uint64
	var name [128]byte
	if d.get(&device, ordinal) != 0 {
		return Device{Name: "does not answer"}
	}
	d.name(&name[0], int32(len(name)-1), device)
	d.attribute(&major, capabilityMajor, device)
	d.attribute(&minor, capabilityMinor, device)
	d.attribute(&processors, multiprocessors, device)
	d.memory(&memory, device)
	text, _, _ := bytes.Cut(name[:], []byte{0})
	return Device{string(text), fmt.Sprintf("%d.%d", major, minor), memory, int(processors)}
}

// CUresult.
const (
	noDevice          = 100
	deviceUnavailable = 46
	operatingSystem   = 304
	notReady          = 802
	driverMismatch    = 803
	compatMissing     = 804
)

// initProblem says what an answer of the driver to its first calls means, and what to do.
func initProblem(code int32) string {
	switch code {
	case noDevice:
		return "the NVIDIA driver sees no card: ask nvidia-smi, and look whether CUDA_VISIBLE_DEVICES hides it or the container was started without its GPUs"
	case deviceUnavailable:
		return "the card is busy or in exclusive mode: end the other process, or allow several with nvidia-smi -c DEFAULT"
	case operatingSystem:
		return "the NVIDIA driver cannot open its device files: look at the permissions of /dev/nvidia*"
	case notReady:
		return "the card is not ready: start nvidia-fabricmanager, of the driver's version"
	case driverMismatch:
		return "libcuda.so.1 and the kernel's module are of different versions: restart the machine after updating the driver"
	case compatMissing:
		return "the driver is too old for the CUDA compatibility library beside libcuda.so.1: update the driver, or remove the library"
	}
	return fmt.Sprintf("the NVIDIA driver does not start (code %d): ask nvidia-smi, and dmesg for lines with Xid", code)
}

// moduleVersion is the version of the kernel's module, or "".
func moduleVersion() string {
	text, err := os.ReadFile("/proc/driver/nvidia/version")
	if err != nil {
		return ""
	}
	return parseModuleVersion(string(text))
}

func parseModuleVersion(text string) string {
	match := regexp.MustCompile(`Kernel Module(?: for \S+)?\s+(\d+(?:\.\d+)+)`).FindStringSubmatch(text)
	if match == nil {
		return ""
	}
	return match[1]
}
