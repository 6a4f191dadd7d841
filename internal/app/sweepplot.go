package app

import (
	"bytes"
	"fmt"
	"image/color"
	"io"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	vgdraw "gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// draw shows Recall@1 of every row that has one, the first row on top: the mean as a dot, the
// standard deviation as a bar, the runs as small circles, the recipes in different colours.
func (t *sweepTable) draw() (svg, png []byte, err error) {
	p := plot.New()
	p.Title.Text = "Recall@1: mean, standard deviation and runs"
	p.X.Label.Text = "percent"
	useSans(p)
	grid := plotter.NewGrid()
	grid.Horizontal.Color = color.Transparent
	p.Add(grid)
	var drawn []tableRow
	for _, r := range t.Rows {
		if r.recall(1) != nil {
			drawn = append(drawn, r)
		}
	}
	names, longest := make([]string, len(drawn)), 0
	colours := map[string]color.Color{}
	for i, r := range drawn {
		y := len(drawn) - 1 - i
		names[y], longest = r.Name, max(longest, len(r.Name))
		if colours[r.Recipe] == nil {
			colours[r.Recipe] = plotutil.DarkColors[len(colours)%len(plotutil.DarkColors)]
		}
		if err := addRow(p, r, float64(y), colours[r.Recipe]); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", r.Name, err)
		}
	}
	p.NominalY(names...)
	p.Y.Min, p.Y.Max = -0.6, float64(len(drawn))-0.4
	widen(&p.X)
	width := 11 + 0.2*float64(longest) // room for the names
	height := 2.4 + 0.8*float64(len(drawn))
	return render(p, vg.Length(width)*vg.Centimeter, vg.Length(height)*vg.Centimeter)
}

// addRow draws one row at height y.
func addRow(p *plot.Plot, r tableRow, y float64, c color.Color) error {
	f := r.recall(1)
	mean := plotter.XYs{{X: 100 * f.Mean, Y: y}}
	if f.Deviation != nil {
		d := 100 * *f.Deviation
		bars, err := plotter.NewXErrorBars(struct {
			plotter.XYs
			plotter.XErrors
		}{mean, plotter.XErrors{{Low: d, High: d}}})
		if err != nil {
			return err
		}
		bars.LineStyle = vgdraw.LineStyle{Color: c, Width: vg.Points(1.5)}
		p.Add(bars)
	}
	var runs plotter.XYs
	for _, run := range r.Runs {
		if x, ok := recallOf(run, 1); ok {
			runs = append(runs, plotter.XY{X: 100 * x, Y: y + 0.22})
		}
	}
	for _, dots := range []struct {
		at    plotter.XYs
		style vgdraw.GlyphStyle
	}{
		{runs, vgdraw.GlyphStyle{Color: c, Radius: vg.Points(1.8), Shape: vgdraw.RingGlyph{}}},
		{mean, vgdraw.GlyphStyle{Color: c, Radius: vg.Points(3.2), Shape: vgdraw.CircleGlyph{}}},
	} {
		s, err := plotter.NewScatter(dots.at)
		if err != nil {
			return err
		}
		s.GlyphStyle = dots.style
		p.Add(s)
	}
	return nil
}

// widen leaves room left and right of the values, and makes a range of a single one.
func widen(a *plot.Axis) {
	room := max(0.05*(a.Max-a.Min), 0.5)
	a.Min, a.Max = a.Min-room, a.Max+room
}

// render draws a plot as an SVG and as a PNG file.
func render(p *plot.Plot, w, h vg.Length) (svg, png []byte, err error) {
	vector := vgsvg.New(w, h)
	pixels := vgimg.NewWith(vgimg.UseWH(w, h), vgimg.UseDPI(150))
	p.Draw(vgdraw.New(vector))
	p.Draw(vgdraw.New(pixels))
	files := make([][]byte, 2)
	for i, c := range []io.WriterTo{vector, vgimg.PngCanvas{Canvas: pixels}} {
		var b bytes.Buffer
		if _, err := c.WriteTo(&b); err != nil {
			return nil, nil, err
		}
		files[i] = b.Bytes()
	}
	return files[0], files[1], nil
}
