// Command flash writes the card's image to a card, and reads it back. It asks before, and refuses whatever is not plainly a card
// that nobody needs: a wrong name must not cost anybody a disk.
package main
