package app

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"image/png"
	"log/slog"
	"os"
	"sort"
	"time"

	imagedraw "golang.org/x/image/draw"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	vgdraw "gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/metrixml/metrix/dataset"
	"github.com/metrixml/metrix/retrieval"
	"github.com/metrixml/metrix/worker"
)

//go:embed report.tmpl.html
var reportTemplate string

// report is what the page shows. Nothing on it is fetched from elsewhere.
type report struct {
	Title   string
	Written string
	Table   [][]string
	Loss    template.HTML
	Recall  template.HTML
	Phases  []phaseShare
	Queries []query
	Trials  []trialFacts
}

type phaseShare struct {
	Name    string
	Seconds float64
	Percent float64
}

type trialFacts struct {
	Title  string
	Result *worker.Result
	Recipe string
}

// query is a test image with its nearest neighbours.
type query struct {
	Image      template.URL
	Neighbours []neighbour
}

type neighbour struct {
	Image template.URL
	Same  bool
}

// writeReport writes the page of finished runs.
func writeReport(ctx context.Context, path string, trials []trial, data string) error {
	own := trials[len(trials)-1]
	r := report{Title: string(own.id), Written: time.Now().Format("2 January 2006, 15:04"), Table: resultTable(trials), Phases: phaseShares(own.result)}
	var losses, recalls []series
	for _, t := range trials {
		r.Trials = append(r.Trials, trialFacts{Title: t.title, Result: t.result, Recipe: string(t.recipe.Canonical())})
		records, err := worker.ReadJournal(t.out)
		if err != nil {
			return err
		}
		loss, recall := curves(records)
		losses = append(losses, series{t.title, loss})
		recalls = append(recalls, series{t.title, recall})
	}
	var err error
	if r.Loss, err = lineChart("Loss", "step", "loss (mean over the last steps)", losses); err != nil {
		return err
	}
	if r.Recall, err = lineChart("Recall@1 on the test classes", "step", "percent", recalls); err != nil {
		return err
	}
	if r.Queries, err = exampleQueries(ctx, own, data); err != nil {
		return err
	}
	page, err := template.New("report").Parse(reportTemplate)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := page.Execute(&b, r); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o644)
}

// curves extracts the smoothed loss and Recall@1 in percent.
func curves(records []worker.StepRecord) (loss, recall plotter.XYs) {
	const window = 10
	var last []float64
	for _, rec := range records {
		if rec.Evaluation != nil {
			recall = append(recall, plotter.XY{X: float64(rec.Step), Y: 100 * rec.Evaluation.RecallAt1()})
		}
		if rec.Loss == nil {
			continue
		}
		last = append(last, rec.Loss.Total)
		if len(last) > window {
			last = last[1:]
		}
		var sum float64
		for _, x := range last {
			sum += x
		}
		loss = append(loss, plotter.XY{X: float64(rec.Step), Y: sum / float64(len(last))})
	}
	return loss, recall
}

// series is one curve of a chart.
type series struct {
	name   string
	points plotter.XYs
}

// lineChart draws curves as an SVG element.
func lineChart(title, x, y string, curves []series) (template.HTML, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	useSans(p)
	p.Add(plotter.NewGrid())
	for i, curve := range curves {
		if len(curve.points) == 0 {
			continue
		}
		line, err := plotter.NewLine(curve.points)
		if err != nil {
			return "", fmt.Errorf("chart %q: %w", title, err)
		}
		line.Color, line.Width = plotutil.Color(i+1), vg.Points(1.5)
		p.Add(line)
		p.Legend.Add(curve.name, line)
	}
	p.Y.Max += 0.22 * (p.Y.Max - p.Y.Min) // room for the legend above the curves
	p.Legend.Top, p.Legend.Left = true, true
	c := vgsvg.New(13*vg.Centimeter, 8*vg.Centimeter)
	p.Draw(vgdraw.New(c))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return "", err
	}
	svg := b.Bytes()
	return template.HTML(svg[max(bytes.Index(svg, []byte("<svg")), 0):]), nil
}

// useSans sets all text of a plot without serifs, as the page has it.
func useSans(p *plot.Plot) {
	for _, style := range []*font.Font{
		&p.Title.TextStyle.Font, &p.X.Label.TextStyle.Font, &p.Y.Label.TextStyle.Font, &p.X.Tick.Label.Font, &p.Y.Tick.Label.Font, &p.Legend.TextStyle.Font,
	} {
		style.Variant = "Sans"
	}
}

func phaseShares(r *worker.Result) []phaseShare {
	var total float64
	for _, s := range r.PhaseSeconds {
		total += s
	}
	var out []phaseShare
	for name, s := range r.PhaseSeconds {
		out = append(out, phaseShare{Name: name, Seconds: s, Percent: 100 * s / max(total, 1e-9)})
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Seconds > out[j].Seconds })
	return out
}

const (
	exampleCount  = 8     // queries shown
	exampleNear   = 6     // neighbours of each
	exampleImages = 20000 // test images above which no examples are computed
	exampleSide   = 72    // pixels
)

// exampleQueries ranks a few test images, evenly spread over the classes, against all others with
// the network of the run.
func exampleQueries(ctx context.Context, t trial, data string) ([]query, error) {
	set, err := dataset.Open(data, t.recipe.Data.Layout)
	if err != nil || len(set.Test.Images) > exampleImages || t.result.Checkpoint == "" {
		return nil, err
	}
	if set, err = set.With(worker.DeliveryOf(t.recipe)); err != nil {
		return nil, err
	}
	eng, err := openEngine(t.recipe.Engine, rankDevice, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	rows, err := embedSplit(ctx, eng, t.result.Checkpoint, t.recipe, set.Test, max(1, t.recipe.Workers))
	if err != nil {
		return nil, err
	}
	queries, gallery := worker.QueryRows(set.Test, rows)
	n := queries.Len()
	var out []query
	for i := range exampleCount {
		q := i * n / exampleCount
		near, err := retrieval.Search(ctx, queries, gallery, q, q+1, exampleNear, retrieval.Options{Threads: 1})
		if err != nil {
			return nil, err
		}
		pic, err := thumbnail(set.Test, q)
		if err != nil {
			return nil, err
		}
		example := query{Image: pic}
		for _, nb := range near[0] {
			at := set.Test.Gallery() + int(nb.Index)
			pic, err := thumbnail(set.Test, at)
			if err != nil {
				return nil, err
			}
			example.Neighbours = append(example.Neighbours, neighbour{Image: pic, Same: rows.Labels[at] == rows.Labels[q]})
		}
		out = append(out, example)
	}
	return out, nil
}

// thumbnail is an image of the split as a data URL.
func thumbnail(s *dataset.Split, i int) (template.URL, error) {
	img, err := s.Decode(i, dataset.DefaultLimits())
	if err != nil {
		return "", err
	}
	b := img.Bounds()
	scale := float64(exampleSide) / float64(max(b.Dx(), b.Dy()))
	small := image.NewRGBA(image.Rect(0, 0, max(1, int(float64(b.Dx())*scale)), max(1, int(float64(b.Dy())*scale))))
	imagedraw.CatmullRom.Scale(small, small.Bounds(), img, b, imagedraw.Src, nil)
	var buf bytes.Buffer
	if err := png.Encode(&buf, small); err != nil {
		return "", err
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(buf.Bytes())), nil
}
