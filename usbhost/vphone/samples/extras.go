package samples

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"time"
)

// base is when the generated files were "made".
func base() time.Time { return time.Date(2024, 2, 29, 23, 59, 58, 0, time.UTC) }

// Extras are the files that trouble backup programs, always the same: small ones by the thousand (messages, thumbnails,
// settings), an empty one, names with accents in both normal forms, in Japanese, Arabic and Hindi, with emoji and
// quotes, a pair that differs only in case, a very long name, and a deep path.
func Extras(small int) []File {
	files := make([]File, 0, small+20)
	rnd := rand.New(rand.NewPCG(3000, 0x65787472))
	for i := range small {
		files = append(files, smallFile(i, rnd))
	}
	odd := []string{
		"Documents/Café – menü für Øyvind.txt",
		"Documents/Cafe\u0301 – decomposed.txt", // e + combining accent: another name than é
		"Pictures/Été/plage à Nice.txt",
		"Pictures/🏖️ Urlaub/😀😎.txt",
		"Pictures/写真/富士山の朝.txt",
		"Documents/مرحبا بالعالم.txt",
		"Documents/नमस्ते दुनिया.txt",
		"Documents/Don't \"quote\" me & co; 100% $HOME #1.txt",
		"Documents/README.txt",
		"Documents/readme.txt",
		"Documents/ leading and trailing .txt",
		"Documents/" + longName + ".txt",
		"Documents/a/b/c/d/e/f/g/h/i/j/k/l/m/n/o/p/deep.txt",
	}
	for i, name := range odd {
		files = append(files, inMemory(name, fmt.Appendf(nil, "%s\nfile %d of the names that trouble backup programs\n", name, i), base().Add(time.Duration(i)*time.Minute)))
	}
	return append(files, inMemory("Documents/empty.txt", nil, base()))
}

const longName = "A very long name, as people make them who keep their notes in the names of their files, so that a list of the files is a list of the notes, and nobody has to open anything to read them"

// smallFile makes the i-th of the small files, 0.2 to 24 KB each.
func smallFile(i int, rnd *rand.Rand) File {
	at := base().Add(-time.Duration(i) * 41 * time.Minute)
	switch i % 3 {
	case 0: // a message, as text
		var b bytes.Buffer
		fmt.Fprintf(&b, "{\n  \"id\": %d,\n  \"messages\": [\n", i)
		for j := range 1 + rnd.IntN(60) {
			fmt.Fprintf(&b, "    {\"n\": %d, \"from\": \"user%d\", \"text\": \"see you at %02d:%02d, gate %d\"},\n", j, rnd.IntN(9), rnd.IntN(24), rnd.IntN(60), rnd.IntN(40))
		}
		b.WriteString("    {}\n  ]\n}\n")
		return inMemory(fmt.Sprintf("Android/media/chat/messages/%02d/%05d.json", i%50, i), b.Bytes(), at)
	case 1: // a thumbnail, incompressible
		return inMemory(fmt.Sprintf("Android/media/chat/thumbs/%02x/%05d.thumb", i%64, i), noiseBytes(uint64(i), 2<<10+rnd.IntN(22<<10)), at)
	default: // a setting
		return inMemory(fmt.Sprintf("Android/data/app.notes/files/n%05d.xml", i), fmt.Appendf(nil, "<map>\n%s</map>\n", bytes.Repeat(fmt.Appendf(nil, "  <int name=\"k%d\" value=\"%d\"/>\n", i, rnd.Int32()), 4+rnd.IntN(40))), at)
	}
}

func inMemory(name string, b []byte, at time.Time) File {
	return File{Name: name, Size: int64(len(b)), Time: at.Truncate(time.Second), data: bytes.NewReader(b)}
}

// noiseBytes are n bytes that no compressor shrinks.
func noiseBytes(seed uint64, n int) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(b) // documented never to fail
	return b
}
