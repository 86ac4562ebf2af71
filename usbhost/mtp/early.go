package mtp

import "slices"

// early are folders that a restore sends before anything else: WhatsApp looks for its backup when it is opened for the first
// time and never again, so it should find one there if its owner cannot wait.
var early = []string{"com.whatsapp", "com.whatsapp.w4b", "WhatsApp", "WhatsApp Business"}

// earlyDepth is how far below the snapshot's root they lie at most: storage, Android, media, com.whatsapp.
const earlyDepth = 4

// earlyFirst puts what leads to an early folder first in its parent, and reports whether d does; depth is that of d's subs.
func earlyFirst(d *sendDir, depth int) bool {
	if depth > earlyDepth {
		return false
	}
	var leads, rest []*sendDir
	for _, sub := range d.subs {
		if slices.Contains(early, sub.name) || earlyFirst(sub, depth+1) {
			leads = append(leads, sub)
		} else {
			rest = append(rest, sub)
		}
	}
	d.subs = append(leads, rest...)
	return len(leads) > 0
}
