package weights

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
)

// streamFile is the format of PyTorch 0.1.10 to 1.5: the pickles of a magic number, of the
// protocol's version, of the system's properties, of the object and of the list of its storages'
// keys; then the storages in that order, each an 8-byte count and its values.
type streamFile struct {
	r        *bufio.Reader
	left     *io.LimitedReader // under r
	value    any
	storages registry
}

var streamMagic, _ = new(big.Int).SetString("1950a86a20f9469cfc6c", 16)

const streamVersion = 1001

func openStream(r *io.SectionReader) (torchFile, error) {
	left := &io.LimitedReader{R: r, N: r.Size()}
	s := &streamFile{r: bufio.NewReaderSize(left, 1<<20), left: left, storages: registry{}}
	magic, err := unpickle(s.r, nil)
	if err != nil {
		return nil, err
	}
	if m, ok := magic.(*big.Int); !ok || m.Cmp(streamMagic) != 0 {
		return nil, fmt.Errorf("it is a pickle, but not one that torch.save wrote")
	}
	version, err := unpickle(s.r, nil)
	if err != nil {
		return nil, err
	}
	if version != streamVersion {
		return nil, fmt.Errorf("its version is not %d, the only one that there has been", streamVersion)
	}
	if err := littleEndianSystem(s.r); err != nil {
		return nil, err
	}
	s.value, err = unpickle(s.r, s.storages.persistent)
	return s, err
}

// littleEndianSystem reads the system's properties.
func littleEndianSystem(r byteReader) error {
	system, err := unpickle(r, nil)
	if err != nil {
		return err
	}
	properties, _ := entries(system)
	for _, p := range properties {
		if p.Key == "little_endian" && p.Value == false {
			return fmt.Errorf("its values are big-endian, which is not read here: save it again on another machine")
		}
	}
	return nil
}

func (s *streamFile) root() any { return s.value }

// fill reads all storages up to the last wanted one: they lie one behind the other.
func (s *streamFile) fill(wanted []*storage) error {
	list, err := unpickle(s.r, nil)
	if err != nil {
		return err
	}
	keys, ok := items(list)
	if !ok {
		return fmt.Errorf("the list of storages is missing")
	}
	missing := map[*storage]bool{}
	for _, w := range wanted {
		missing[w] = true
	}
	for _, k := range keys {
		key, _ := k.(string)
		st, ok := s.storages[key]
		if !ok {
			return fmt.Errorf("the list of storages names %.40q, which no tensor has", key)
		}
		if err := s.next(st, missing[st]); err != nil {
			return err
		}
		delete(missing, st)
	}
	for st := range missing {
		return fmt.Errorf("storage %.40q is not in the file", st.key)
	}
	return nil
}

// next reads or skips the storage that comes next.
func (s *streamFile) next(st *storage, wanted bool) error {
	var count int64
	if err := binary.Read(s.r, binary.LittleEndian, &count); err != nil {
		return fmt.Errorf("storage %.40q: the file ends before it", st.key)
	}
	if count != int64(st.size) {
		return fmt.Errorf("storage %.40q has %d values where its tensors say %d", st.key, count, st.size)
	}
	limit := s.left.N + int64(s.r.Buffered())
	if wanted {
		return readStorage(st, s.r, limit)
	}
	n, err := st.bytes(limit)
	if err != nil {
		return err
	}
	_, err = io.CopyN(io.Discard, s.r, n)
	return err
}
