package samples

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Packages that carry photographs and videos as test data, with the versions that were looked at: about 75 MB in all.
var (
	goModules = []string{
		"github.com/bep/imagemeta@v1.0.1", // dozens of cameras, an iPhone's HEIC, a Sony's HEIF
		"github.com/h2non/bimg@v1.1.9",    // whole iPhone and Jolla pictures, HEIC
		"github.com/dsoprea/go-exif/v3@v3.0.1",
		"github.com/evanoberholster/imagemeta@v0.3.1",
		"github.com/h2non/filetype@v1.1.3", // MOV, MP4
		"github.com/barasher/go-exiftool@v1.10.0",
		"github.com/u2takey/ffmpeg-go@v0.5.0", // MP4
		"github.com/rwcarlsen/goexif@v0.0.0-20190401172101-9e8deecbddbd",
		"go4.org@v0.0.0-20260112195520-a5071408f32f", // HEIC
	}
	npmPackages = []string{
		"node-exif@1.0.1", "exif-js@2.3.0", "exif-parser@0.1.12", "jpeg-exif@1.1.4", "fast-image-size@0.1.3",
	}
)

const (
	fetchTime = 45 * time.Second // for everything; what has not come by then is done without
	minSample = 5 << 10          // bytes: below are icons and damaged headers
	maxSample = 64 << 20         // bytes of one file
	maxTarred = 256 << 20        // bytes unpacked from one package
	fewest    = 10               // fewer real photographs than that are no camera roll
)

// Fetch downloads real photographs and videos, at most 45 s long. It needs the go command and its module cache; npm, if
// there is one, adds more. Packages that cannot be had are left out; an error means that nearly nothing came. JPEGs are
// taken only if their EXIF data names a camera. dir receives what npm delivers; Go's files stay in its module cache.
func Fetch(ctx context.Context, dir string, log func(string)) (Set, error) {
	if log == nil {
		log = func(string) {}
	}
	goCmd, err := exec.LookPath("go")
	if err != nil {
		return Set{}, fmt.Errorf("samples: fetch: %w", err)
	}
	modDir := filepath.Join(dir, "module")
	if err := os.MkdirAll(modDir, 0o755); err != nil {
		return Set{}, fmt.Errorf("samples: fetch: %w", err)
	}
	if err := os.WriteFile(filepath.Join(modDir, "go.mod"), []byte("module samples\n\ngo 1.26\n"), 0o644); err != nil {
		return Set{}, fmt.Errorf("samples: fetch: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()

	got := gather{log: log}
	var g errgroup.Group
	g.SetLimit(4)
	for _, m := range goModules {
		g.Go(func() error {
			root, err := goModule(limited, goCmd, modDir, m)
			got.add(m, root, err)
			return nil
		})
	}
	if npmCmd, err := exec.LookPath("npm"); err == nil {
		for i, p := range npmPackages {
			g.Go(func() error {
				root, err := npmPackage(limited, npmCmd, filepath.Join(dir, fmt.Sprintf("npm%d", i)), p)
				got.add(p, root, err)
				return nil
			})
		}
	}
	if err := g.Wait(); err != nil {
		return Set{}, err
	}
	if ctx.Err() != nil {
		return Set{}, ctx.Err()
	}
	return got.set()
}

// gather collects what the downloads bring, each from its own goroutine.
type gather struct {
	log func(string)

	mu    sync.Mutex // guards what follows
	files []File
	errs  []error
	came  int
}

func (g *gather) add(pkg, root string, err error) {
	var files []File
	if err == nil {
		files, err = scan(pkg, root)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil {
		g.errs = append(g.errs, err)
		g.log(fmt.Sprintf("%s: not to be had", pkg))
		return
	}
	g.came++
	g.files = append(g.files, files...)
	g.log(fmt.Sprintf("%s: %d pictures and videos", pkg, len(files)))
}

// set orders the files, drops those that came twice, and gives each a name as a phone would.
func (g *gather) set() (Set, error) {
	slices.SortFunc(g.files, func(a, b File) int { return strings.Compare(a.Source+a.path, b.Source+b.path) })
	s := Set{Real: true}
	seen := map[[sha256.Size]byte]bool{}
	names := map[string]bool{}
	for i, f := range g.files {
		sum, err := hashFile(f.path)
		if err != nil {
			return Set{}, err
		}
		if seen[sum] {
			continue
		}
		seen[sum] = true
		f.Name, f.Time = phoneName(f, i, names)
		s.Files = append(s.Files, f)
	}
	if n := s.Count(".jpg", ".heic"); n < fewest {
		return Set{}, fmt.Errorf("samples: fetch: only %d photographs from %d packages: %w", n, g.came, errors.Join(g.errs...))
	}
	s.Reason = fmt.Sprintf("by %d different cameras and phones, from %d public packages of test pictures", s.Cameras(), g.came)
	return s, nil
}

// phoneName names a picture as cameras on phones do, by kind and date, unlike every name so far.
func phoneName(f File, i int, taken map[string]bool) (string, time.Time) {
	at := f.Time
	if at.IsZero() {
		at = time.Date(2023, 7, 1, 10, 0, 0, 0, time.UTC).Add(time.Duration(i) * 17 * time.Minute)
	}
	prefix, ext := "IMG", ".jpg"
	switch strings.ToLower(path.Ext(filepath.ToSlash(f.path))) {
	case ".heic", ".heif":
		ext = ".heic"
	case ".mp4":
		prefix, ext = "VID", ".mp4"
	case ".mov":
		prefix, ext = "VID", ".mov"
	}
	name := fmt.Sprintf("DCIM/Camera/%s_%s%s", prefix, at.Format("20060102_150405"), ext)
	for n := 1; taken[name]; n++ {
		name = fmt.Sprintf("DCIM/Camera/%s_%s_%d%s", prefix, at.Format("20060102_150405"), n, ext)
	}
	taken[name] = true
	return name, at
}

// goModule returns the folder of one module's files in the module cache, having downloaded it if need be.
func goModule(ctx context.Context, goCmd, dir, module string) (string, error) {
	cmd := exec.CommandContext(ctx, goCmd, "mod", "download", "-json", module)
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "GOTOOLCHAIN=local")
	out, runErr := cmd.Output()
	var answer struct{ Dir, Error string }
	if err := json.Unmarshal(out, &answer); err != nil {
		return "", fmt.Errorf("samples: go mod download %s: %w", module, errors.Join(runErr, err))
	}
	if answer.Error != "" || answer.Dir == "" {
		return "", fmt.Errorf("samples: go mod download %s: %s", module, firstLine(answer.Error))
	}
	return answer.Dir, nil
}

// npmPackage fetches one npm package and unpacks its pictures into dir. No script of the package is run.
func npmPackage(ctx context.Context, npmCmd, dir, pkg string) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("samples: npm pack %s: %w", pkg, err)
	}
	cmd := exec.CommandContext(ctx, npmCmd, "pack", "--silent", "--ignore-scripts", pkg)
	cmd.Dir, cmd.WaitDelay = dir, time.Second
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("samples: npm pack %s: %w", pkg, err)
	}
	name := filepath.Base(strings.TrimSpace(string(out))) // npm prints the name of the file that it wrote
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return "", fmt.Errorf("samples: npm pack %s: %w", pkg, err)
	}
	if err := untarPictures(bytes.NewReader(b), dir); err != nil {
		return "", fmt.Errorf("samples: npm pack %s: %w", pkg, err)
	}
	return dir, nil
}

// untarPictures unpacks the pictures of a gzipped tar archive into dir under numbers, so no name in it matters.
func untarPictures(r io.Reader, dir string) error {
	z, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	t := tar.NewReader(io.LimitReader(z, maxTarred))
	for i := 0; ; i++ {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Typeflag != tar.TypeReg || !wanted(h.Name, h.Size) {
			continue
		}
		name := filepath.Join(dir, fmt.Sprintf("%04d%s", i, strings.ToLower(path.Ext(h.Name))))
		b, err := io.ReadAll(t)
		if err != nil {
			return err
		}
		if err := os.WriteFile(name, b, 0o644); err != nil {
			return err
		}
	}
}

// wanted tells by name and size whether a file may be a sample.
func wanted(name string, size int64) bool {
	if size < minSample || size > maxSample {
		return false
	}
	switch strings.ToLower(path.Ext(name)) {
	case ".jpg", ".jpeg", ".heic", ".heif", ".mp4", ".mov":
		return true
	}
	return false
}

// scan finds the samples below root: JPEGs that name their camera, HEIC pictures, and videos.
func scan(pkg, root string) ([]File, error) {
	var files []File
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil || !wanted(d.Name(), info.Size()) {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		m, ok := look(b)
		if !ok {
			return nil
		}
		files = append(files, File{
			Size: info.Size(), Time: m.taken, Camera: strings.TrimSpace(m.maker + " " + m.model), Source: pkg, path: p,
		})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("samples: %s: %w", pkg, err)
	}
	return files, nil
}

func hashFile(name string) (sum [sha256.Size]byte, err error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return sum, fmt.Errorf("samples: %w", err)
	}
	return sha256.Sum256(b), nil
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
