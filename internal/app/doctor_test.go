package app

import (
	"bytes"
	"encoding/json"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/metrixml/metrix/engine/cuda/probe"
	"github.com/metrixml/metrix/internal/cli"
)

func TestDoctorSaysWhatAutoTakes(t *testing.T) {
	text, _, code, err := execute(NewMetrix(), "doctor")
	require.NoError(t, err)
	require.Equal(t, cli.ExitOK, code)
	for _, part := range []string{"processor ", "cores ", "memory ", "GPU", "OpenBLAS", "libjpeg-turbo", "engine cuda", "engine onednn", "engine gorgonia", "engine.name: auto with engine.precision: f32 computes on "} {
		require.Contains(t, text, part)
	}

	text, _, _, err = execute(NewMetrix(), "doctor", "--json")
	require.NoError(t, err)
	var r doctorReport
	require.NoError(t, json.Unmarshal([]byte(text), &r))
	require.Len(t, r.Engines, len(engineNames))
	for _, e := range r.Engines { // the first that can be used
		require.NotEqual(t, e.Usable, e.Reason != "", e.Name)
		if e.Usable {
			require.Equal(t, e.Name, r.Used)
			break
		}
	}
	require.Positive(t, r.Machine.Cores)
	require.NotEmpty(t, r.OpenBLAS)
}

func TestDoctorExitCodes(t *testing.T) {
	for _, c := range []struct {
		code int
		args []string
		want string
	}{
		{cli.ExitOK, []string{"--engine", "gorgonia"}, ""},
		{cli.ExitFailure, []string{"--engine", "gorgonia", "--precision", "bf16"}, "gorgonia: it does not compute in bf16"},
		{cli.ExitFailure, []string{"--engine", "onednn", "--precision", "tf32", "--json"}, "onednn: it does not compute in tf32"},
		{cli.ExitUsage, []string{"--engine", "cudnn"}, "must be auto, cuda, onednn or gorgonia"},
		{cli.ExitUsage, []string{"--precision", "f16"}, "must be f32, tf32 or bf16"},
		{cli.ExitUsage, []string{"extra"}, ""},
	} {
		text, _, code, err := execute(NewMetrix(), append([]string{"doctor"}, c.args...)...)
		require.Equal(t, c.code, code, "%v: %v", c.args, err)
		if c.want != "" {
			require.ErrorContains(t, err, c.want)
		}
		if code == cli.ExitFailure {
			require.NotEmpty(t, text, "what was found is shown all the same")
		}
	}
}

func TestMachineIsReadFromLinux(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	base := fstest.MapFS{
		"proc/cpuinfo": file("processor\t: 0\nmodel name\t: AMD EPYC 9R14\nflags\t\t: fpu avx2 avx512f avx512_bf16\nprocessor\t: 1\nmodel name\t: AMD EPYC 9R14\n"),
		"proc/meminfo": file("MemTotal:       32000000 kB\nMemFree:        1000 kB\nMemAvailable:   16000000 kB\n"),
	}
	with := func(files map[string]string) machine {
		all := fstest.MapFS{}
		for name, f := range base {
			all[name] = f
		}
		for name, text := range files {
			all[name] = file(text)
		}
		return readMachine(all)
	}
	bare := machine{Processor: "AMD EPYC 9R14", Vectors: []string{"avx2", "avx512f", "avx512_bf16"}, MemoryBytes: 32000000 << 10, FreeBytes: 16000000 << 10}
	require.Equal(t, bare, with(nil))
	require.Equal(t, machine{Vectors: []string{}}, readMachine(fstest.MapFS{}))

	limited := bare
	limited.Quota, limited.LimitBytes = 1.5, 4<<30
	require.Equal(t, limited, with(map[string]string{ // version 2, the group's folder mounted as the root
		"proc/self/cgroup": "0::/kubepods/pod7/c1\n", "sys/fs/cgroup/cpu.max": "150000 100000\n", "sys/fs/cgroup/memory.max": "4294967296\n",
	}))
	require.Equal(t, limited, with(map[string]string{ // version 2, the parent is stricter
		"proc/self/cgroup":           "0::/a/b\n",
		"sys/fs/cgroup/a/b/cpu.max":  "max 100000\n",
		"sys/fs/cgroup/a/cpu.max":    "150000 100000\n",
		"sys/fs/cgroup/a/memory.max": "4294967296\n", "sys/fs/cgroup/a/b/memory.max": "8589934592\n",
	}))
	require.Equal(t, limited, with(map[string]string{ // version 1
		"proc/self/cgroup":                           "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n",
		"sys/fs/cgroup/cpu/cpu.cfs_quota_us":         "150000\n",
		"sys/fs/cgroup/cpu/cpu.cfs_period_us":        "100000\n",
		"sys/fs/cgroup/memory/memory.limit_in_bytes": "4294967296\n",
	}))
	require.Equal(t, bare, with(map[string]string{ // version 1 without limits
		"proc/self/cgroup": "4:memory:/\n3:cpu,cpuacct:/\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
		"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
	}))
}

// What the report concludes, on machines that this one is not.
func TestVerdict(t *testing.T) {
	card := &probe.Machine{Devices: []probe.Device{{Name: "NVIDIA H100 80GB HBM3", Capability: "9.0", MemoryBytes: 80 << 30, Multiprocessors: 132}}, CUDA: "12.8"}
	state := func(cuda, onednn bool) []engineState {
		return []engineState{{Name: "cuda", Usable: cuda, Reason: "why not"}, {Name: "onednn", Usable: onednn, Reason: "why not"}, {Name: "gorgonia", Usable: true}}
	}
	for _, c := range []struct {
		report doctorReport
		want   string
	}{
		{doctorReport{Program: programInfo{GPU: true}, CUDA: card, Engines: state(true, true), Asked: "auto", Precision: "bf16", Used: "cuda"},
			"engine.name: auto with engine.precision: bf16 computes on cuda."},
		{doctorReport{Program: programInfo{GPU: true}, CUDA: card, Engines: state(false, true), Asked: "auto", Precision: "f32", Used: "onednn"},
			"engine.name: auto with engine.precision: f32 computes on onednn. Not on cuda, which is faster: see its line."},
		{doctorReport{CUDA: card, Engines: state(false, true), Asked: "auto", Precision: "f32", Used: "onednn"},
			"engine.name: auto with engine.precision: f32 computes on onednn. The card is left idle: this program has no GPU support; use bin/metrix-gpu, which 'make gpu' builds, or the GPU image."},
		{doctorReport{CUDA: &probe.Machine{}, Engines: state(false, false), Asked: "auto", Precision: "f32", Used: "gorgonia"},
			"engine.name: auto with engine.precision: f32 computes on gorgonia. Not on onednn, which is faster: see its line."},
		{doctorReport{CUDA: &probe.Machine{}, Engines: state(false, true), Asked: "gorgonia", Precision: "f32", Used: "gorgonia"},
			"engine.name: gorgonia with engine.precision: f32 computes on gorgonia. onednn is faster and can be used here: take auto."},
		{doctorReport{CUDA: &probe.Machine{}, Engines: state(false, true), Asked: "cuda", Precision: "f32"},
			"engine.name: cuda with engine.precision: f32 cannot be used here."},
	} {
		require.Equal(t, c.want, verdict(&c.report))
	}

	var out bytes.Buffer
	card.CuDNN, card.CuBLAS = probe.Library{Path: "/lib/libcudnn.so.9", Version: "9.10.2"}, probe.Library{Problem: "cuBLAS 12 or 13: install it"}
	m := machine{Processor: "p", Cores: 64, Quota: 7.5, MemoryBytes: 64 << 30, LimitBytes: 8 << 30, FreeBytes: 4 << 30}
	require.NoError(t, printDoctor(&out, &doctorReport{CUDA: card, Machine: m, Engines: state(false, true), Asked: "auto", Used: "onednn"}))
	for _, part := range []string{"GPU 0          NVIDIA H100 80GB HBM3, 80.0 GiB, compute capability 9.0, 132 multiprocessors", "unknown, CUDA 12.8",
		"cuDNN          9.10.2, /lib/libcudnn.so.9", "cuBLAS         not found: cuBLAS 12 or 13: install it", "64, of which the container may use 7.5", "the container may use 8.0 GiB, free 4.0 GiB"} {
		require.Contains(t, out.String(), part)
	}
}
