package vault

// buffers are free buffers for reuse: a few of each size. Most of what reading allocates is room for one chunk or window;
// if each got new memory, the collector would run for every few MB that are read, and the kernel find a page for each
// 4 KiB. A sync.Pool would lose them whenever the collector runs.
type buffers [3]chan []byte

// bufferSizes are in bytes: a small file or blob, a window, the largest chunk of ours.
var bufferSizes = [...]int{128 << 10, windowSize, chunkSize + overhead}

// freeBuffers is how many of each size are kept: about 18 MB in all.
const freeBuffers = 4

func newBuffers() (b buffers) {
	for i := range b {
		b[i] = make(chan []byte, freeBuffers)
	}
	return b
}

// get returns a buffer of n bytes, with anything in it.
func (b buffers) get(n int) []byte {
	for i, size := range bufferSizes {
		if n > size {
			continue
		}
		select {
		case p := <-b[i]:
			return p[:n]
		default:
			return make([]byte, n, size)
		}
	}
	return make([]byte, n)
}

// put gives a buffer back that nobody uses any more, as get returned it.
func (b buffers) put(p []byte) {
	for i, size := range bufferSizes {
		if cap(p) == size {
			select {
			case b[i] <- p:
			default:
			}
		}
	}
}
