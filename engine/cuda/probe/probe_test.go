package probe

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// asChild makes the test binary print what Look finds: libraries are looked for when a process starts.
const asChild = "METRIX_PROBE_TEST"

func TestMain(m *testing.M) {
	if os.Getenv(asChild) == "" {
		os.Exit(m.Run())
	}
	if err := json.NewEncoder(os.Stdout).Encode(Look()); err != nil {
		panic(err)
	}
}

// look runs Look in a process whose libraries lie in folder: libcuda for the loader, the others by
// METRIX_CUDA_LIBS.
func look(t *testing.T, folder string) *Machine {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), asChild+"=1", EnvLibraries+"="+folder, "LD_LIBRARY_PATH="+folder)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err)
	m := &Machine{}
	require.NoError(t, json.Unmarshal(out, m))
	return m
}

// library compiles a C source into folder.
func library(t *testing.T, folder, name, source string) {
	t.Helper()
	compiler, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("needs gcc to make libraries that answer like NVIDIA's")
	}
	file := filepath.Join(folder, name+".c")
	require.NoError(t, os.WriteFile(file, []byte(source), 0o644))
	out, err := exec.Command(compiler, "-shared", "-fPIC", "-Wl,-soname,"+name, "-o", filepath.Join(folder, name), file).CombinedOutput()
	require.NoError(t, err, "%s", out)
}

const (
	twoCards = `
#include <string.h>
int cuInit(unsigned f) { return f; }
int cuDriverGetVersion(int *v) { *v = 12080; return 0; }
int cuDeviceGetCount(int *n) { *n = 2; return 0; }
int cuDeviceGet(int *d, int i) { *d = i; return 0; }
int cuDeviceGetName(char *t, int n, int d) { strncpy(t, d ? "Second" : "First", n); return 0; }
int cuDeviceGetAttribute(int *v, int a, int d) { *v = a == 75 ? 9 : a == 76 ? d : 132; return 0; }
int cuDeviceTotalMem_v2(size_t *b, int d) { *b = (size_t)(80 + d) << 30; return 0; }
`
	noCard    = `int cuInit(unsigned f) { return 100; } int cuDriverGetVersion(int *v) { *v = 12080; return 0; }`
	rest      = `int cuDeviceGetCount(void *a){return 3;} int cuDeviceGet(void *a){return 3;} int cuDeviceGetName(void *a){return 3;} int cuDeviceGetAttribute(void *a){return 3;} int cuDeviceTotalMem_v2(void *a){return 3;}`
	oldDriver = `int cuInit(unsigned f) { return 0; } int cuDriverGetVersion(int *v) { *v = 11040; return 0; }
int cuDeviceGetCount(int *n) { *n = 1; return 0; } int cuDeviceGet(void *a){return 3;} int cuDeviceGetName(void *a){return 3;} int cuDeviceGetAttribute(void *a){return 3;} int cuDeviceTotalMem_v2(void *a){return 3;}`
	cudnn9   = `#include <stddef.h>` + "\n" + `size_t cudnnGetVersion(void) { return 91002; }`
	cublas12 = `int cublasGetProperty(int k, int *v) { *v = k == 0 ? 12 : k == 1 ? 9 : 4; return 0; }`
)

func TestLookFindsEverything(t *testing.T) {
	dir := t.TempDir()
	library(t, dir, "libcuda.so.1", twoCards)
	library(t, dir, "libcudnn.so.9", cudnn9)
	library(t, dir, "libcublas.so.12", cublas12)
	m := look(t, dir)
	require.Empty(t, m.Problem())
	require.Equal(t, "12.8", m.CUDA)
	require.Equal(t, []Device{{"First", "9.0", 80 << 30, 132}, {"Second", "9.1", 81 << 30, 132}}, m.Devices)
	require.Equal(t, Library{Path: filepath.Join(dir, "libcudnn.so.9"), Version: "9.10.2"}, m.CuDNN)
	require.Equal(t, Library{Path: filepath.Join(dir, "libcublas.so.12"), Version: "12.9.4"}, m.CuBLAS)
	require.Equal(t, filepath.Join(dir, "libcuda.so.1"), m.Driver.Path)
}

func TestLookSaysWhatIsMissingAndTheRemedy(t *testing.T) {
	t.Run("driver", func(t *testing.T) {
		m := look(t, t.TempDir())
		if m.Driver.Path != "" {
			t.Skip("this machine has a driver: a missing one cannot be shown")
		}
		require.Contains(t, m.Problem(), "libcuda.so.1 is not on this machine: install the driver")
		require.Empty(t, m.Devices)
	})
	t.Run("card", func(t *testing.T) {
		dir := t.TempDir()
		library(t, dir, "libcuda.so.1", noCard+rest)
		m := look(t, dir)
		require.Contains(t, m.Problem(), "sees no card: ask nvidia-smi")
		require.Equal(t, "12.8", m.CUDA)
	})
	t.Run("newer driver", func(t *testing.T) {
		dir := t.TempDir()
		library(t, dir, "libcuda.so.1", oldDriver)
		require.Contains(t, look(t, dir).Problem(), "serves CUDA 11.4: update it to version 525")
	})
	t.Run("functions of the driver", func(t *testing.T) {
		dir := t.TempDir()
		library(t, dir, "libcuda.so.1", noCard)
		require.Contains(t, look(t, dir).Problem(), "lacks cuDevice")
	})
	t.Run("cuDNN that can be loaded", func(t *testing.T) {
		dir := t.TempDir()
		library(t, dir, "libcuda.so.1", twoCards)
		library(t, dir, "libcublas.so.12", cublas12)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "libcudnn.so.9"), []byte("no library"), 0o644))
		m := look(t, dir)
		require.Contains(t, m.Problem(), "libcudnn.so.9: file too short")
		require.Contains(t, m.Problem(), EnvLibraries)
	})
}

func TestEveryAnswerOfTheDriverHasARemedy(t *testing.T) {
	for _, code := range []int32{noDevice, deviceUnavailable, operatingSystem, notReady, driverMismatch, compatMissing} {
		require.NotContains(t, initProblem(code), "(code", "code %d has no sentence of its own", code)
		require.Contains(t, initProblem(code), ": ", "code %d has no remedy", code)
	}
	require.Contains(t, initProblem(999), "(code 999)")
}

func TestVersions(t *testing.T) {
	require.Equal(t, "9.10.2", cudnnVersion(91002))
	require.Equal(t, "8.9.7", cudnnVersion(8907))
	for text, want := range map[string]string{
		"NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n":                    "535.104.05",
		"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.124.06  Release Build\nGCC version: gcc 12.2.0\n": "570.124.06",
		"something else": "",
	} {
		require.Equal(t, want, parseModuleVersion(text))
	}
}
