package weights

import (
	"archive/zip"
	"bufio"
	"fmt"
	"io"
	"path"
	"strings"
)

// zipFile is the format since PyTorch 1.6: NAME/data.pkl, and NAME/data/KEY for each storage.
type zipFile struct {
	records map[string]*zip.File // by name without the leading folder
	value   any
	size    int64
}

func openZip(r *io.SectionReader) (torchFile, error) {
	archive, err := zip.NewReader(r, r.Size())
	if err != nil {
		return nil, fmt.Errorf("the zip archive cannot be read: %w", err)
	}
	z := &zipFile{records: map[string]*zip.File{}, size: r.Size()}
	for _, f := range archive.File {
		_, name, _ := strings.Cut(path.Clean(f.Name), "/")
		z.records[name] = f
	}
	if _, ok := z.records["constants.pkl"]; ok {
		return nil, fmt.Errorf("it is a TorchScript program: save model.state_dict() with torch.save instead")
	}
	if err := z.littleEndian(); err != nil {
		return nil, err
	}
	p, err := z.open("data.pkl")
	if err != nil {
		return nil, err
	}
	defer p.Close() //nolint:errcheck // nothing was written
	z.value, err = unpickle(bufio.NewReader(p), registry{}.persistent)
	return z, err
}

// littleEndian checks the record that newer versions add.
func (z *zipFile) littleEndian() error {
	if _, ok := z.records["byteorder"]; !ok {
		return nil
	}
	f, err := z.open("byteorder")
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	order, err := io.ReadAll(io.LimitReader(f, 16))
	if err == nil && string(order) != "little" {
		err = fmt.Errorf("its values are %q endian, which is not read here: save it again on another machine", order)
	}
	return err
}

// open opens a record. PyTorch does not compress, so a record cannot be larger than the file.
func (z *zipFile) open(name string) (io.ReadCloser, error) {
	f, ok := z.records[name]
	switch {
	case !ok:
		return nil, fmt.Errorf("the zip archive has no record %s, which torch.save writes", name)
	case f.Method != zip.Store:
		return nil, fmt.Errorf("record %s is compressed, which torch.save never does", name)
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("record %s: %w", name, err)
	}
	return r, nil
}

func (z *zipFile) root() any { return z.value }

func (z *zipFile) fill(wanted []*storage) error {
	for _, s := range wanted {
		if err := z.read(s); err != nil {
			return err
		}
	}
	return nil
}

func (z *zipFile) read(s *storage) error {
	r, err := z.open(path.Join("data", s.key))
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // nothing was written
	if err := readStorage(s, r, z.size); err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, r, 1); err != io.EOF { // where the checksum is compared
		return fmt.Errorf("storage %.40q: its record is corrupt or longer than its tensors say", s.key)
	}
	return nil
}
