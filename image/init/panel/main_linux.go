package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"phonebackupbox/hal"
	"phonebackupbox/hal/rpi"
)

// wired is what QEMU's board "virt" has to wire to: eight lines, of which the fourth is its power button's.
var wired = rpi.Config{Chip: "9030000.pl061", Lights: [hal.Lights]int{0, 1, 2, 4, 5, 6}, Button: 7, ButtonActiveHigh: true}

func main() {
	for _, c := range []rpi.Config{{Chip: rpi.Auto}, {Chip: wired.Chip, Lights: wired.Lights, Button: 8}, {Chip: wired.Chip, Lights: wired.Lights, Button: 3}} {
		if c.Lights[1] == 0 {
			c.Lights, c.Button = rpi.Default.Lights, rpi.Default.Button
		}
		_, err := rpi.Open(c)
		say("refused: %v", err)
	}
	go feed()
	b, err := rpi.Open(wired)
	if err != nil {
		say("%v", err)
	}
	go func() { say("the lights ended: %v", b.Run(context.Background())) }()
	console, err := os.Open("/dev/console")
	if err != nil {
		say("%v", err)
	}
	say("ready")
	for s := bufio.NewScanner(console); s.Scan(); {
		if err := obey(b, strings.TrimSpace(s.Text())); err != nil {
			say("%v", err)
		}
		say("did")
	}
}

// feed keeps the machine from being reset.
func feed() {
	dog, err := rpi.OpenWatchdog("/dev/watchdog")
	if err != nil {
		say("%v", err)
		return
	}
	for tick := time.Tick(dog.Timeout() / 5); ; <-tick {
		if err := dog.Feed(); err != nil {
			say("%v", err)
		}
	}
}

func say(format string, args ...any) { fmt.Printf("panel: "+format+"\n", args...) }

// obey does what a line says: "show" and six levels, or "edges" and how many to tell.
func obey(b *rpi.Board, line string) error {
	var f hal.Frame
	var n int
	if _, err := fmt.Sscanf(line, "edges %d", &n); err == nil {
		for range n {
			e, err := b.HAL().Button.Edge(context.Background())
			if err != nil {
				return err
			}
			say("edge %v %d", e.Down, e.At.UnixMicro())
		}
		return nil
	}
	if _, err := fmt.Sscanf(line, "show %d %d %d %d %d %d", &f[0], &f[1], &f[2], &f[3], &f[4], &f[5]); err != nil {
		return err
	}
	return b.Show(f)
}
