package firmware

import (
	"time"

	"phonebackupbox/usbhost"
)

// rateOver is how long a change of speed takes to show in Rate for the most part. A phone's speed changes with every file.
const rateOver = 5 * time.Second

func (s *State) progressed(now time.Time, e Event) {
	switch e := e.(type) {
	case Progressed:
		if e.Job == s.Job.N && s.Progress != nil {
			if p := s.phone(string(s.Job.Phone)); p != nil && p.shy && e.Progress.FilesTotal > 0 {
				p.shy = false
				s.say(now, p.Name+" is unlocked: the backup begins.")
			}
			s.Progress.take(now, e.Progress)
		}
	case BackupCommitted:
		s.takeBackup(e.Backup)
		if e.Job == s.Job.N && s.Job.Kind == JobBackup {
			s.memory.verifying = true
			s.Progress = &Progress{Doing: "checking", Began: now, mark: now}
			s.say(now, s.name(s.Job.Phone)+": copied. What was stored is being read back.")
		}
	case Verified:
		if e.Job == s.Job.N && s.Progress != nil && s.memory.verifying {
			s.Progress.take(now, usbhost.Progress{Phase: usbhost.Checking, Bytes: e.Done, BytesTotal: e.Total})
		}
	case HealProgressed:
		if e.Job == s.Job.N && s.Heal != nil {
			s.Heal.Done, s.Heal.Total = e.Done, e.Total
		}
	}
}

// take takes in a sample and works out the rate and the time left.
func (p *Progress) take(now time.Time, u usbhost.Progress) {
	p.Files, p.FilesTotal, p.Bytes, p.BytesTotal, p.Moved = u.Files, u.FilesTotal, u.Bytes, u.BytesTotal, u.Moved
	p.Name = ""
	if u.Name != "" {
		p.Name = cleanName(u.Name)
	}
	doing := [...]string{usbhost.Listing: "listing", usbhost.Copying: "copying", usbhost.Checking: "checking"}
	if u.Phase >= 0 && int(u.Phase) < len(doing) {
		p.Doing = doing[u.Phase]
	}
	dt := now.Sub(p.mark)
	if dt < 200*time.Millisecond {
		return // too short to tell a rate from
	}
	now1 := max(float64(p.Bytes-p.markBytes), 0) / dt.Seconds()
	weight := min(dt.Seconds()/rateOver.Seconds(), 1)
	if p.Rate == 0 {
		weight = 1
	}
	p.Rate += (now1 - p.Rate) * weight
	p.mark, p.markBytes = now, p.Bytes
	p.Left = 0
	if left := p.BytesTotal - p.Bytes; left > 0 && p.Rate > 1 {
		if sec := float64(left) / p.Rate; sec < 30*24*3600 { // more is no estimate
			p.Left = time.Duration(sec * float64(time.Second)).Round(time.Second)
		}
	}
}
