package dataset

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// PackOptions say how Pack makes a pack.
type PackOptions struct {
	Delivery                       // what a recipe that is to use the pack says
	Limits   Limits                // of one file
	Threads  int                   // images decoded at a time; 0 means all cores
	Progress func(done, total int) // may be nil; called by one goroutine at a time
}

// Pack decodes and resizes every image of a set once and writes the pixels to dir, from which
// OpenPack and Open deliver them with the same bits as the files would under the same Delivery. The
// pack is a function of the files, the options and, through the decoder, of the Go release or the
// library's version; neither the number of threads nor the time leaves a trace.
//
// It is written whole or not at all: into a hidden folder beside dir, synced, renamed at the end.
// dir must not exist or be empty. A file that cannot be decoded is an error that names it.
func Pack(ctx context.Context, dir string, set *Set, opt PackOptions) error {
	if from, packed := set.Packed(); packed {
		return fmt.Errorf("dataset: pack: %s is a pack already, with side %d; give the folder of the files", set.Root, from.Store)
	}
	set, err := set.With(opt.Delivery)
	if err != nil {
		return err
	}
	if entries, err := os.ReadDir(dir); err == nil && len(entries) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("dataset: pack: %s is there already; remove it or give another folder", dir)
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fmt.Errorf("dataset: pack: make %s: %w", parent, err)
	}
	temp, err := os.MkdirTemp(parent, "."+baseName(dir)+"-*")
	if err != nil {
		return fmt.Errorf("dataset: pack: make a folder in %s: %w", parent, err)
	}
	defer os.RemoveAll(temp)
	if err := writePack(ctx, temp, set, opt); err != nil {
		return fmt.Errorf("dataset: pack %s: %w", set.Root, err)
	}
	_ = os.Remove(dir) // an empty folder may be in the way; anything else stays and makes the rename fail
	if err := os.Rename(temp, dir); err != nil {
		return fmt.Errorf("dataset: pack: finish %s: %w", dir, err)
	}
	return syncFolder(parent)
}

func writePack(ctx context.Context, temp string, set *Set, opt PackOptions) error {
	if err := os.Chmod(temp, 0o755); err != nil {
		return err
	}
	total := len(set.Train.Images) + len(set.Test.Images)
	done := 0
	tell := func() {
		done++
		if opt.Progress != nil {
			opt.Progress(done, total)
		}
	}
	for _, part := range []struct {
		file, name string
		split      *Split
	}{{packTrain, "train", set.Train}, {packTest, "test", set.Test}} {
		x := &packIndex{images: part.split.Images, records: make([]packed, len(part.split.Images)), config: packConfig{
			Name: set.Name, Split: part.name, Layout: set.Layout, Side: opt.Store, Resampling: storeVersion,
			Decoder: opt.orDefault().Decoder, DecoderVersion: part.split.decoderVersion(),
			Images: len(part.split.Images), Queries: part.split.QueryImages, Classes: part.split.Classes,
		}}
		w := packWriter{split: part.split, index: x, limits: opt.Limits, threads: opt.Threads, tell: tell}
		if err := w.write(ctx, filepath.Join(temp, part.file)); err != nil {
			return err
		}
	}
	return syncFolder(temp)
}

// packWriter writes one file of a pack.
type packWriter struct {
	split   *Split
	index   *packIndex
	limits  Limits
	threads int
	tell    func() // one image is written
}

func (w *packWriter) write(ctx context.Context, file string) (err error) {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Seek(packPixels, io.SeekStart); err != nil {
		return err
	}
	buf := bufio.NewWriterSize(f, 1<<20)
	end, err := w.writePixels(ctx, buf)
	if err != nil {
		return err
	}
	index, err := w.index.encode()
	if err != nil {
		return err
	}
	head := packHead{index: end, indexBytes: int64(len(index)), fileBytes: end + int64(len(index)), indexSum: sha256.Sum256(index)}
	_, err = buf.Write(index)
	if err := errors.Join(err, buf.Flush(), f.Sync()); err != nil {
		return err
	}
	if _, err := f.WriteAt(head.encode(), 0); err != nil {
		return err
	}
	return f.Sync()
}

// resized is an image on its way into a pack.
type resized struct {
	record packed
	pix    []byte
}

// writePixels writes the pixels of all images in order and returns where they end. Images are
// decoded by several goroutines, a few ahead of this one, which writes.
func (w *packWriter) writePixels(ctx context.Context, out io.Writer) (int64, error) {
	threads := w.threads
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(threads + 1) // and the one that starts them
	queue := make(chan chan resized, 2*threads)
	g.Go(func() error {
		for i := range w.split.Images {
			slot := make(chan resized, 1)
			select {
			case queue <- slot:
			case <-ctx.Done():
				return ctx.Err()
			}
			g.Go(func() error {
				img, err := w.prepare(i)
				if err == nil {
					slot <- img
				}
				return err
			})
		}
		return nil
	})
	end, err := w.drain(ctx, out, queue)
	if err != nil {
		cancel()
	}
	if stopped := g.Wait(); stopped != nil && (err == nil || errors.Is(err, context.Canceled)) {
		err = stopped // what the writer did not get
	}
	return end, err
}

// drain writes what comes out of the queue, one image for each of the split.
func (w *packWriter) drain(ctx context.Context, out io.Writer, queue <-chan chan resized) (int64, error) {
	end := int64(packPixels)
	for i := range w.split.Images {
		img, err := receive(ctx, queue)
		if err != nil {
			return 0, err
		}
		img.record.offset = end
		w.index.records[i] = img.record
		if _, err := out.Write(img.pix); err != nil {
			return 0, err
		}
		end += int64(len(img.pix))
		w.tell()
	}
	return end, nil
}

// receive waits for the next image.
func receive(ctx context.Context, queue <-chan chan resized) (resized, error) {
	var slot chan resized
	select {
	case slot = <-queue:
	case <-ctx.Done():
		return resized{}, ctx.Err()
	}
	select {
	case img := <-slot:
		return img, nil
	case <-ctx.Done():
		return resized{}, ctx.Err()
	}
}

// prepare decodes and resizes image i.
func (w *packWriter) prepare(i int) (resized, error) {
	img, data, err := w.split.decodeFile(i, w.limits)
	if err != nil {
		return resized{}, err
	}
	pix := packedPixels(img)
	return resized{packed{w: img.Rect.Dx(), h: img.Rect.Dy(), crc: checksum(pix), sum: sha256.Sum256(data)}, pix}, nil
}

// packedPixels drops the alpha of an image without padding.
func packedPixels(img *image.RGBA) []byte {
	pix := make([]byte, 0, len(img.Pix)/4*3)
	for src := img.Pix; len(src) >= 4; src = src[4:] {
		pix = append(pix, src[0], src[1], src[2])
	}
	return pix
}

// decoderVersion names what decodes the split's files.
func (s *Split) decoderVersion() string {
	if s.turbo != nil {
		return s.turbo.path
	}
	return runtime.Version()
}

// syncFolder makes the names in a folder last.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
