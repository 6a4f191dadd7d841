package app

import (
	"bufio"
	"bytes"
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
)

// machine is what a computer is, as far as training cares.
type machine struct {
	Processor string `json:"processor"`
	// Vectors are the instruction sets that the CPU engines ask for.
	Vectors []string `json:"vectors"`
	Cores   int      `json:"cores"`
	// Quota is the cores that this process's container may use; 0 means all.
	Quota float64 `json:"quota,omitempty"`
	// MemoryBytes is the machine's, LimitBytes what the container may use (0: all), FreeBytes what is
	// left to new programs.
	MemoryBytes uint64 `json:"memory_bytes"`
	LimitBytes  uint64 `json:"limit_bytes,omitempty"`
	FreeBytes   uint64 `json:"free_bytes"`
}

// wantedVectors are the instruction sets worth naming, by the kernel's names.
var wantedVectors = [...]string{"avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "bf16"}

// readMachine reads Linux's files below root, "/" in earnest. What is not there stays zero.
func readMachine(root fs.FS) machine {
	m := machine{Vectors: []string{}}
	for key, value := range colonLines(root, "proc/cpuinfo") {
		switch key {
		case "model name":
			m.Processor = value
		case "flags", "Features":
			has := strings.Fields(value)
			for _, v := range wantedVectors {
				if slices.Contains(has, v) {
					m.Vectors = append(m.Vectors, v)
				}
			}
		}
	}
	memory := colonLines(root, "proc/meminfo")
	m.MemoryBytes, m.FreeBytes = kibibytes(memory["MemTotal"]), kibibytes(memory["MemAvailable"])
	group := controlGroups(root)
	m.Quota = group.quota()
	if limit := group.limit(); limit > 0 && limit < m.MemoryBytes {
		m.LimitBytes = limit
	}
	return m
}

// colonLines reads "key : value" lines, the first of each key.
func colonLines(root fs.FS, name string) map[string]string {
	lines := map[string]string{}
	text, err := fs.ReadFile(root, name)
	if err != nil {
		return lines
	}
	for s := bufio.NewScanner(bytes.NewReader(text)); s.Scan(); {
		key, value, ok := strings.Cut(s.Text(), ":")
		if _, seen := lines[strings.TrimSpace(key)]; ok && !seen {
			lines[strings.TrimSpace(key)] = strings.TrimSpace(value)
		}
	}
	return lines
}

func kibibytes(text string) uint64 {
	n, _ := strconv.ParseUint(strings.TrimSuffix(text, " kB"), 10, 64)
	return n << 10
}

// controlGroup reads the limits of this process's control group, of version 2 or 1.
type controlGroup struct {
	root    fs.FS
	folders map[string]string // by controller; "" is version 2
}

// controlGroups finds where the process stands in each hierarchy.
func controlGroups(root fs.FS) controlGroup {
	g := controlGroup{root, map[string]string{}}
	text, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return g
	}
	for line := range strings.Lines(string(text)) {
		part := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(part) == 3 {
			for _, controller := range strings.Split(part[1], ",") {
				g.folders[controller] = part[2]
			}
		}
	}
	return g
}

// each calls visit with the words of a file of the process's group and of every group above it, whose
// limits hold too. In a container the group's own folder is mostly mounted as the root.
func (g controlGroup) each(controller, file string, visit func(words []string)) {
	folder, ok := g.folders[controller]
	if !ok {
		return
	}
	for {
		text, err := fs.ReadFile(g.root, path.Join("sys/fs/cgroup", controller, folder, file))
		if words := strings.Fields(string(text)); err == nil && len(words) > 0 {
			visit(words)
		}
		if folder == "/" || folder == "." {
			return
		}
		folder = path.Dir(folder)
	}
}

// quota is the least number of cores that any group allows, 0 if none sets a limit.
func (g controlGroup) quota() float64 {
	least := math.Inf(1)
	note := func(quota, period string) {
		q, err := strconv.ParseFloat(quota, 64)
		p, perr := strconv.ParseFloat(period, 64)
		if err == nil && perr == nil && q > 0 && p > 0 {
			least = min(least, q/p)
		}
	}
	g.each("", "cpu.max", func(words []string) {
		if len(words) == 2 {
			note(words[0], words[1])
		}
	})
	g.each("cpu", "cpu.cfs_quota_us", func(words []string) {
		g.each("cpu", "cpu.cfs_period_us", func(period []string) { note(words[0], period[0]) })
	})
	if math.IsInf(least, 1) {
		return 0
	}
	return least
}

// limit is the least memory in bytes that any group allows, 0 if none sets a limit.
func (g controlGroup) limit() uint64 {
	least := uint64(math.MaxUint64)
	note := func(words []string) {
		if n, err := strconv.ParseUint(words[0], 10, 64); err == nil && n > 0 {
			least = min(least, n)
		}
	}
	g.each("", "memory.max", note)
	g.each("memory", "memory.limit_in_bytes", note)
	if least == math.MaxUint64 {
		return 0
	}
	return least
}
