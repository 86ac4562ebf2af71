package firmware

import (
	"testing"
	"time"

	"phonebackupbox/usbhost"
)

func TestPowerAndHeat(t *testing.T) {
	st := tell(t, anna).is(Idle).ask(BoardIs{PowerLow: true}).faults(PowerLow).is(Problem)
	if f, _ := st.s.Fault(); f.Light != 5 {
		t.Errorf("light %d", f.Light)
	}
	st.plug(1, usbhost.Info{ID: anna}).runs(JobBackup).is(Copying) // it backs up all the same
	st.ask(BoardIs{PowerLow: true, TooHot: true}).faults(PowerLow, TooHot).backedUp(well()).is(Problem)
	st.ask(BoardIs{TooHot: true}).faults(TooHot).wait(time.Hour).ask(BoardIs{}).faults().is(Done)
}
