package allreduce

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"hash/fnv"

	"github.com/metrixml/metrix/run"
)

// A frame is a header of 64 bytes, little-endian, and a payload:
//
//	 0  magic "MXRF"          4  version, kind, operation, flags (one byte each)
//	 8  run                   FNV-1a of the run id
//	16  generation           24  step
//	32  collective            FNV-1a of operation, phase, root and part lengths; exchange:
//	                          of operation, phase, wire and length from sender to receiver
//	40  sequence              data: number of this frame on its pair of ranks, from 0;
//	                          credit: data frames consumed so far; abort: rank that failed
//	48  sender               52  payload length in bytes
//	56  CRC-32C of payload   60  CRC-32C of bytes 0..59
//
// The one flag says that there is no checksum of the payload, which lies in memory that both ranks share.
const (
	headerBytes  = 64
	frameMagic   = 0x4652584d // "MXRF"
	frameVersion = 3
	flagBare     = 1
)

// kind says what a frame is for.
type kind uint8

const (
	kindHello  kind = 1 + iota // handshake: I am there; payload is a hello
	kindData                   // one chunk of a segment
	kindCredit                 // Sequence data frames have been consumed
	kindAbort                  // the sender's ring is dead; payload is the reason
	numKinds   = iota + 1
)

// header is the decoded header of a frame, without what is constant or derived.
type header struct {
	Kind       kind
	Op         op
	Run        uint64
	Generation run.Generation
	Step       run.Step
	Collective uint64
	Sequence   uint64
	Sender     run.Rank
	Sum        uint32 // CRC-32C of the payload
	Bare       bool   // the payload lies in shared memory and has no checksum: Sum is 0
}

// castagnoli returns the table of CRC-32C, for which crc32 uses the processor's instruction.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli()) }

// encode writes h into the first 64 bytes of frame; the rest of frame is the payload that h.Sum
// was computed from.
func encode(frame []byte, h header) {
	le := binary.LittleEndian
	le.PutUint32(frame[0:], frameMagic)
	frame[4], frame[5], frame[6], frame[7] = frameVersion, byte(h.Kind), byte(h.Op), 0
	if h.Bare {
		frame[7] = flagBare
	}
	le.PutUint64(frame[8:], h.Run)
	le.PutUint64(frame[16:], uint64(h.Generation))
	le.PutUint64(frame[24:], uint64(h.Step))
	le.PutUint64(frame[32:], h.Collective)
	le.PutUint64(frame[40:], h.Sequence)
	le.PutUint32(frame[48:], uint32(h.Sender))
	le.PutUint32(frame[52:], uint32(len(frame)-headerBytes))
	le.PutUint32(frame[56:], h.Sum)
	le.PutUint32(frame[60:], checksum(frame[:60]))
}

// decode reads a frame and verifies its checksums. The payload aliases frame. Whatever the bytes,
// it returns a header or an error, and allocates nothing but the error.
func decode(frame []byte) (header, []byte, error) {
	if len(frame) < headerBytes {
		return header{}, nil, fmt.Errorf("frame of %d bytes is shorter than its header of %d", len(frame), headerBytes)
	}
	le := binary.LittleEndian
	if magic := le.Uint32(frame); magic != frameMagic {
		return header{}, nil, fmt.Errorf("frame starts with %#08x, which is no ring frame", magic)
	}
	if frame[4] != frameVersion {
		return header{}, nil, fmt.Errorf("frame has version %d, this program speaks version %d: run the same build on every worker", frame[4], frameVersion)
	}
	if checksum(frame[:60]) != le.Uint32(frame[60:]) {
		return header{}, nil, fmt.Errorf("frame is corrupt: its header does not match its checksum")
	}
	h := header{
		Kind:       kind(frame[5]),
		Op:         op(frame[6]),
		Run:        le.Uint64(frame[8:]),
		Generation: run.Generation(le.Uint64(frame[16:])),
		Step:       run.Step(le.Uint64(frame[24:])),
		Collective: le.Uint64(frame[32:]),
		Sequence:   le.Uint64(frame[40:]),
		Sender:     run.Rank(le.Uint32(frame[48:])),
		Sum:        le.Uint32(frame[56:]),
		Bare:       frame[7] == flagBare,
	}
	payload := frame[headerBytes:]
	if n := le.Uint32(frame[52:]); uint64(n) != uint64(len(payload)) {
		return header{}, nil, fmt.Errorf("frame is truncated: it promises a payload of %d bytes and carries %d", n, len(payload))
	}
	if h.Kind == 0 || h.Kind >= numKinds || frame[7] > flagBare {
		return header{}, nil, fmt.Errorf("frame has unknown kind %d (flags %d)", h.Kind, frame[7])
	}
	if !h.Bare && checksum(payload) != h.Sum {
		return header{}, nil, fmt.Errorf("frame is corrupt: its payload of %d bytes does not match its checksum", len(payload))
	}
	return h, payload, nil
}

// hashRun names a run in a header.
func hashRun(id run.ID) uint64 {
	h := fnv.New64a()
	h.Write([]byte(id)) // a hash never fails
	return h.Sum64()
}

// hashCollective names a collective in a header: ranks that disagree on the operation, the phase,
// the root or the lengths get different names.
func hashCollective(o op, phase string, root run.Rank, parts []int) uint64 {
	h := fnv.New64a()
	var b [8]byte
	word := func(v uint64) {
		binary.LittleEndian.PutUint64(b[:], v)
		h.Write(b[:])
	}
	word(uint64(o))
	word(uint64(root))
	for _, n := range parts {
		word(uint64(n))
	}
	h.Write([]byte(phase))
	return h.Sum64()
}

// hello is the payload of a handshake frame: what both sides must agree on, and whether the sender
// has heard the other side.
type hello struct {
	World, ChunkFloats, Window uint32
	Heard                      bool
}

const helloBytes = 16

func (h hello) append(b []byte) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, h.World)
	b = le.AppendUint32(b, h.ChunkFloats)
	b = le.AppendUint32(b, h.Window)
	heard := uint32(0)
	if h.Heard {
		heard = 1
	}
	return le.AppendUint32(b, heard)
}

func decodeHello(b []byte) (hello, error) {
	if len(b) != helloBytes {
		return hello{}, fmt.Errorf("hello of %d bytes, expected %d", len(b), helloBytes)
	}
	le := binary.LittleEndian
	return hello{
		World:       le.Uint32(b),
		ChunkFloats: le.Uint32(b[4:]),
		Window:      le.Uint32(b[8:]),
		Heard:       le.Uint32(b[12:]) == 1,
	}, nil
}
