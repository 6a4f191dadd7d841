package retrieval

// A panel holds up to 16 query rows side by side, element k of all of them together:
//
//	panel[k*lanes+l] = element k of query l
//
// so that one gallery element meets 16 queries at once. Every product of two rows is accumulated
// in the order of k, product rounded before the sum, on every path (the conversions below forbid a
// fused multiply-add): the result depends on the two rows alone, not on blocks, threads or machine.
const lanes = 16

// kernel computes dst[i*stride+l] for every row i of rows (m x dim) and lane l of one panel.
type kernel func(dst []float32, stride int, rows, panel []float32, dim int)

// pack writes row q of a block into its panel.
func pack(panels, row []float32, q int) {
	panel := panels[q/lanes*lanes*len(row):]
	for k, v := range row {
		panel[k*lanes+q%lanes] = v
	}
}

// dotPlain is the inner product, in tiles of 4 rows x 2 lanes (8 sums in registers).
func dotPlain(dst []float32, stride int, rows, panel []float32, dim int) {
	for ; len(rows) >= 4*dim; rows, dst = rows[4*dim:], dst[min(4*stride, len(dst)):] {
		r0, r1, r2, r3 := rows[:dim], rows[dim:2*dim], rows[2*dim:3*dim], rows[3*dim:4*dim]
		for l := 0; l < lanes; l += 2 {
			var s00, s01, s10, s11, s20, s21, s30, s31 float32
			p := panel[l:]
			for k, a0 := range r0 {
				q := p[k*lanes : k*lanes+2 : k*lanes+2]
				b0, b1 := q[0], q[1]
				a1, a2, a3 := r1[k], r2[k], r3[k]
				s00 += float32(a0 * b0)
				s01 += float32(a0 * b1)
				s10 += float32(a1 * b0)
				s11 += float32(a1 * b1)
				s20 += float32(a2 * b0)
				s21 += float32(a2 * b1)
				s30 += float32(a3 * b0)
				s31 += float32(a3 * b1)
			}
			dst[l], dst[l+1] = s00, s01
			dst[stride+l], dst[stride+l+1] = s10, s11
			dst[2*stride+l], dst[2*stride+l+1] = s20, s21
			dst[3*stride+l], dst[3*stride+l+1] = s30, s31
		}
	}
	for i := 0; len(rows) >= dim; i, rows = i+1, rows[dim:] {
		out := dst[i*stride : i*stride+lanes]
		clear(out)
		for k, a := range rows[:dim] {
			for l, b := range panel[k*lanes : k*lanes+lanes] {
				out[l] += float32(a * b)
			}
		}
	}
}

// negativeDistance is minus the squared Euclidean distance, summed from the differences: exact to
// rounding also for rows that are close to each other, where |a|^2 + |b|^2 - 2ab is not.
func negativeDistance(dst []float32, stride int, rows, panel []float32, dim int) {
	for i := 0; len(rows) >= dim; i, rows = i+1, rows[dim:] {
		out := dst[i*stride : i*stride+lanes]
		for l := 0; l < lanes; l += 4 {
			var s0, s1, s2, s3 float32
			p := panel[l:]
			for k, a := range rows[:dim] {
				q := p[k*lanes : k*lanes+4 : k*lanes+4]
				d0, d1, d2, d3 := a-q[0], a-q[1], a-q[2], a-q[3]
				s0 += float32(d0 * d0)
				s1 += float32(d1 * d1)
				s2 += float32(d2 * d2)
				s3 += float32(d3 * d3)
			}
			out[l], out[l+1], out[l+2], out[l+3] = -s0, -s1, -s2, -s3
		}
	}
}
