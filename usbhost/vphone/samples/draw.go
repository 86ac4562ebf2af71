package samples

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"
)

const drawWidth, drawHeight = 1280, 960 // pixels

// Draw draws n landscapes into dir, the same for the same n: hills under a sky at some hour, with grain, so that they
// are as large as photographs of that size. They name no camera.
func Draw(ctx context.Context, dir string, n int) (Set, error) {
	dir = filepath.Join(dir, "drawn")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Set{}, fmt.Errorf("samples: draw: %w", err)
	}
	set := Set{Files: make([]File, n), Reason: "drawn here"}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range n {
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			at := time.Date(2024, 5, 1, 8, 0, 0, 0, time.UTC).Add(time.Duration(i) * 7 * time.Hour)
			name := "IMG_" + at.Format("20060102_150405") + ".jpg"
			size, err := drawOne(filepath.Join(dir, name), uint64(i))
			set.Files[i] = File{Name: "DCIM/Camera/" + name, Size: size, Time: at, path: filepath.Join(dir, name)}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return Set{}, fmt.Errorf("samples: draw: %w", err)
	}
	return set, nil
}

func drawOne(name string, seed uint64) (size int64, err error) {
	f, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	if err := jpeg.Encode(f, landscape(seed), &jpeg.Options{Quality: 92}); err != nil {
		return 0, err
	}
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// landscape paints a sky, a sun and five ranges of hills, each darker than the one behind it.
func landscape(seed uint64) image.Image {
	rnd := rand.New(rand.NewPCG(seed, 0x70686f746f))
	img := image.NewRGBA(image.Rect(0, 0, drawWidth, drawHeight))
	hour := rnd.Float64()
	high, low := mix(rgb{20, 40, 110}, rgb{90, 160, 230}, hour), mix(rgb{240, 120, 70}, rgb{220, 235, 245}, hour)
	sunX, sunY := rnd.Float64()*drawWidth, (0.15+0.4*rnd.Float64())*drawHeight
	for y := range drawHeight {
		sky := mix(high, low, float64(y)/drawHeight)
		for x := range drawWidth {
			d := math.Hypot(float64(x)-sunX, float64(y)-sunY)
			img.SetRGBA(x, y, grain(mix(sky, rgb{255, 245, 215}, math.Exp(-d/90)), rnd))
		}
	}
	const ranges = 5
	for k := range ranges {
		near := float64(k+1) / ranges
		paint := mix(low, rgb{15, 40 + 30*rnd.Float64(), 30}, 0.3+0.7*near)
		a, b, c := rnd.Float64()*6, 1+3*rnd.Float64(), 5+9*rnd.Float64()
		for x := range drawWidth {
			u := float64(x) / drawWidth
			ridge := 0.45 + 0.1*float64(k) + 0.06*math.Sin(a+b*u*6) + 0.02*math.Sin(a*3+c*u*6)
			for y := max(0, int(ridge*drawHeight)); y < drawHeight; y++ {
				img.SetRGBA(x, y, grain(paint, rnd))
			}
		}
	}
	return img
}

type rgb struct{ r, g, b float64 }

func mix(a, b rgb, t float64) rgb {
	return rgb{a.r + (b.r-a.r)*t, a.g + (b.g-a.g)*t, a.b + (b.b-a.b)*t}
}

// grain adds a sensor's noise, without which a drawing shrinks to nothing.
func grain(c rgb, rnd *rand.Rand) color.RGBA {
	n := float64(rnd.Uint32()&15) - 7.5
	clamp := func(v float64) uint8 { return uint8(min(max(v+n, 0), 255)) }
	return color.RGBA{clamp(c.r), clamp(c.g), clamp(c.b), 255}
}
