package dataset

import (
	"image"
	"sync/atomic"
)

// Cache keeps decoded images of a split within a budget of bytes. It keeps what came first and never
// evicts: a training epoch uses every image about once, and for such a cyclic order a
// least-recently-used cache would evict each image just before its next use. It is safe for
// concurrent use and takes no lock.
type Cache struct {
	split        *Split
	limits       Limits
	budget       int64
	bytes        atomic.Int64
	images       []atomic.Pointer[image.RGBA]
	hits, misses atomic.Int64
}

// CacheStats counts what a cache has done.
type CacheStats struct {
	Hits, Misses int64 // calls answered from memory, calls that decoded
	Bytes        int64 // pixel bytes held
}

// Cache returns a cache of the split's images that holds at most budget bytes of pixels (4 for each
// pixel); a budget of 0 or less holds nothing and decodes every time. A packed split is not cached.
func (s *Split) Cache(budget int64, l Limits) *Cache {
	if s.pack != nil {
		budget = 0 // the system keeps the pages of the file
	}
	return &Cache{split: s, limits: l, budget: budget, images: make([]atomic.Pointer[image.RGBA], len(s.Images))}
}

// Image returns image i, decoded. The image is shared: it must not be written to.
func (c *Cache) Image(i int) (*image.RGBA, error) {
	if i >= 0 && i < len(c.images) {
		if img := c.images[i].Load(); img != nil {
			c.hits.Add(1)
			return img, nil
		}
	}
	img, err := c.split.Decode(i, c.limits)
	if err != nil {
		return nil, err
	}
	c.misses.Add(1)
	c.keep(i, img)
	return img, nil
}

// keep stores img if its bytes still fit, reserving them first so that the budget holds at any time.
func (c *Cache) keep(i int, img *image.RGBA) {
	n := int64(len(img.Pix))
	if c.bytes.Add(n) > c.budget || !c.images[i].CompareAndSwap(nil, img) {
		c.bytes.Add(-n)
	}
}

// Stats returns the counts so far.
func (c *Cache) Stats() CacheStats {
	return CacheStats{Hits: c.hits.Load(), Misses: c.misses.Load(), Bytes: c.bytes.Load()}
}
