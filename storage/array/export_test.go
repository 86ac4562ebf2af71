package array

// SetFold makes an array write a checkpoint after n segments.
func SetFold(a *Array, n int) { a.fold = n }
