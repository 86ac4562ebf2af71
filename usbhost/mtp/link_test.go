package mtp

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"phonebackupbox/usbhost"
)

// script is a Pipe that answers reads with transfers written down beforehand.
type script struct {
	transfers [][]byte
}

func (s *script) Read(_ context.Context, p []byte) (int, error) {
	if len(s.transfers) == 0 {
		return 0, context.DeadlineExceeded
	}
	n := copy(p, s.transfers[0])
	if s.transfers[0] = s.transfers[0][n:]; len(s.transfers[0]) == 0 || n < len(p) {
		s.transfers = s.transfers[1:]
	}
	return n, nil
}

func (s *script) Write(_ context.Context, p []byte) (int, error) { return len(p), nil }
func (s *script) Event(ctx context.Context, _ []byte) (int, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}
func (s *script) Control(_ context.Context, setup usbhost.Setup, p []byte) (int, error) {
	if setup.Request == requestStatus {
		return copy(p, []byte{4, 0, 1, 0x20}), nil
	}
	return 0, nil
}
func (s *script) Close() error { return nil }

func scripted(transfers ...[]byte) *session {
	s := &session{
		link: &link{pipe: &script{transfers}, packet: 512, scratch: make([]byte, scratchSize)},
		t:    Timeouts{}.withDefaults(), log: slog.New(slog.DiscardHandler), open: true, transaction: 6,
	}
	return s
}

func data(payload []byte) []byte {
	return append(header{uint32(headerSize + len(payload)), typeData, uint16(opGetObject), 7}.append(nil), payload...)
}

// TestTheWaysInWhichDataAndResponsesCome: each row is the same 500 or 1012 bytes as another phone sends them.
func TestTheWaysInWhichDataAndResponsesCome(t *testing.T) {
	half, full := bytes.Repeat([]byte("d"), 488), bytes.Repeat([]byte("d"), 1012)
	response := header{12, typeResponse, uint16(OK), 7}.append(nil)
	stale := header{12, typeResponse, uint16(OK), 3}.append(nil)
	staleData := append(header{512 + 100, typeData, uint16(opGetObject), 3}.append(nil), make([]byte, 600)...)
	endless := data(full)
	binary.LittleEndian.PutUint32(endless, sizeUnknown)
	for name, row := range map[string]struct {
		want      []byte
		transfers [][]byte
	}{
		"data, response":                          {half, [][]byte{data(half), response}},
		"whole packets, zlp, response":            {full, [][]byte{data(full), {}, response}},
		"whole packets, response without zlp":     {full, [][]byte{data(full), response}},
		"response in the transfer of the zlp":     {full, [][]byte{append(data(full), response...)}},
		"header alone":                            {full, [][]byte{data(full)[:12], full, response}},
		"header alone, zlps everywhere":           {full, [][]byte{{}, data(full)[:12], full[:512], {}, full[512:], {}, response}},
		"short packets inside":                    {full, [][]byte{data(full)[:100], full[88:600], full[600:], response}},
		"of unknown length, ended by zlp":         {full, [][]byte{endless, {}, response}},
		"of unknown length, ended by a response":  {full, [][]byte{append(bytes.Clone(endless), response...)}},
		"fewer data than promised, then response": {half, [][]byte{append(data(full)[:12:12], half...), response}},
		"fewer data and the response behind":      {half[:500-12-0], [][]byte{append(data(full)[:500:500], nil...), response}},
		"after a stale response":                  {half, [][]byte{stale, data(half), response}},
		"after stale data":                        {half, [][]byte{staleData, stale, data(half), response}},
		"no data at all":                          {nil, [][]byte{response}},
	} {
		t.Run(name, func(t *testing.T) {
			s := scripted(row.transfers...)
			var got bytes.Buffer
			a, err := s.do(t.Context(), request{op: opGetObject, read: func(ctx context.Context, x *exchange) error {
				_, err := io.Copy(&got, &dataReader{ctx: ctx, x: x})
				return err
			}})
			if err != nil || Code(a.code) != OK || !bytes.Equal(got.Bytes(), row.want) {
				t.Errorf("%d bytes of %d, response %#x, %v", got.Len(), len(row.want), a.code, err)
			}
			if left := s.link.pipe.(*script).transfers; len(left) != 0 {
				t.Errorf("%d transfers are left in the pipe", len(left))
			}
		})
	}
}

// FuzzTransaction feeds a transaction whatever a hostile phone may send.
func FuzzTransaction(f *testing.F) {
	response := header{12, typeResponse, uint16(OK), 7}.append(nil)
	f.Add(data(make([]byte, 1012)), response, []byte{})
	f.Add(data(make([]byte, 2000))[:512], []byte{}, response)
	f.Add(append(data(make([]byte, 500)), response...), []byte{1}, response)
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		s := scripted(a, b, c)
		n := 0
		_, err := s.do(t.Context(), request{op: opGetObject, read: func(ctx context.Context, x *exchange) error {
			buf := make([]byte, 1024)
			for {
				p, err := x.next(ctx, buf)
				if err != nil {
					return err
				}
				n += len(p)
			}
		}})
		if n > len(a)+len(b)+len(c) || err == nil && s.transaction < 7 {
			t.Errorf("%d bytes of data, %v", n, err)
		}
	})
}

// drip is a phone that promises a gigabyte and sends a packet just before each deadline.
type drip struct {
	script
	began bool
}

func (d *drip) Read(ctx context.Context, p []byte) (int, error) {
	t := time.NewTimer(14 * time.Second)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	if !d.began {
		d.began = true
		return copy(p, header{1 << 30, typeData, uint16(opGetObject), 7}.append(nil)), nil
	}
	return copy(p, make([]byte, 512)), nil
}

// TestAPhoneThatDripsTimesOut although it keeps the deadline of each transfer.
func TestAPhoneThatDripsTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := scripted()
		s.link.pipe = &drip{}
		began := time.Now()
		_, err := s.do(t.Context(), request{op: opGetObject})
		if took := time.Since(began); !errors.Is(err, errTimeout) || took > 5*time.Minute {
			t.Errorf("after %v: %v", took, err)
		}
	})
}
