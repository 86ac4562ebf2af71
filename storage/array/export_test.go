package array

// SetFold makes an array write a checkpoint after n segments, and leave some of what it says in pieces although it is little.
func SetFold(a *Array, n int) { a.fold, a.room, a.small = n, 500, 500 }

// Revive lets drives that failed be written again.
func Revive(a *Array) {
	for _, m := range a.members {
		m.down.Store(nil)
	}
}
