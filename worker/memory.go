package worker

import "github.com/metrixml/metrix/run"

// memory is the cross-batch memory (XBM, Wang et al. 2020): the embeddings of the last rows that were
// trained on. Every rank enqueues the same gathered rows at the same place, which follows from the
// step alone, so all hold the same bits. It is part of the state that ranks give each other and that
// checkpoints keep.
type memory struct {
	size, dim int
	start     run.Step  // steps before it is read
	batch     int       // rows of a step
	rows      []float32 // size x dim
	marks     []float32 // size x 2: a class number in two halves of 16 bits, which floats hold exactly
}

func newMemory(size, dim, batch int, start run.Step) *memory {
	return &memory{
		size: size, dim: dim, batch: batch, start: start,
		rows: make([]float32, size*dim), marks: make([]float32, 2*size),
	}
}

// read returns what the memory holds at a step, in order of its slots; nothing before start.
func (m *memory) read(step run.Step) (rows []float32, labels []int32) {
	if m.size == 0 || step < m.start {
		return nil, nil
	}
	n := int(min(int64(m.size), int64(step)*int64(m.batch)))
	labels = make([]int32, n)
	for i := range labels {
		labels[i] = int32(m.marks[2*i])<<16 | int32(m.marks[2*i+1])
	}
	return m.rows[:n*m.dim], labels
}

// enqueue stores the rows of a step over the oldest ones.
func (m *memory) enqueue(step run.Step, rows []float32, labels []int32) {
	if m.size == 0 {
		return
	}
	for i := max(0, m.batch-m.size); i < m.batch; i++ {
		slot := int((int64(step)*int64(m.batch) + int64(i)) % int64(m.size))
		copy(m.rows[slot*m.dim:(slot+1)*m.dim], rows[i*m.dim:])
		m.marks[2*slot], m.marks[2*slot+1] = float32(labels[i]>>16), float32(labels[i]&0xffff)
	}
}
