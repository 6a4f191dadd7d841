package cuda

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// heap is memory of a limited size.
type heap struct {
	limit, used int64
	next        uintptr
	sizes       map[uintptr]int64
}

func (h *heap) take(bytes int64) (uintptr, error) {
	if h.used+bytes > h.limit {
		return 0, errors.New("full")
	}
	h.next++
	h.used += bytes
	h.sizes[h.next] = bytes
	return h.next, nil
}

func (h *heap) give(address uintptr) error {
	if h.sizes[address] == 0 {
		return errors.New("not taken")
	}
	h.used -= h.sizes[address]
	delete(h.sizes, address)
	return nil
}

func TestPoolLendsWhatCameBack(t *testing.T) {
	h := &heap{limit: 100, sizes: map[uintptr]int64{}}
	p := newPool(10, h.take, h.give)
	a, err := p.get(31)
	require.NoError(t, err)
	assert.Equal(t, int64(40), a.bytes)
	b, err := p.get(0)
	require.NoError(t, err)
	assert.Equal(t, int64(10), b.bytes)
	p.put(a)
	c, err := p.get(15)
	require.NoError(t, err)
	assert.Equal(t, a, c, "the piece that came back")
	p.put(c)
	d, err := p.get(60) // takes the place of the piece of 40
	require.NoError(t, err)
	assert.Equal(t, int64(70), h.used)
	p.put(b)
	e, err := p.get(45) // takes the place of the piece of 10, which came back
	assert.ErrorContains(t, err, "full")
	assert.Zero(t, e)
	p.put(d)
	require.NoError(t, p.close())
	assert.Zero(t, h.used)
	p.put(d) // a straggler finds the pool empty
	assert.Empty(t, p.idle)
}

func TestPoolGivesIdleMemoryBackBeforeItFails(t *testing.T) {
	h := &heap{limit: 100, sizes: map[uintptr]int64{}}
	p := newPool(10, h.take, h.give)
	var pieces []piece
	for range 5 {
		x, err := p.get(20)
		require.NoError(t, err)
		pieces = append(pieces, x)
	}
	for _, x := range pieces[:4] {
		p.put(x)
	}
	x, err := p.get(80)
	require.NoError(t, err)
	assert.Equal(t, int64(80), x.bytes)
	require.NoError(t, p.close())
	assert.Zero(t, h.used)
}
