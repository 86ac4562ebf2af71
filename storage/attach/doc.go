// Package attach finds the drives that are plugged into the box, has their file systems checked, and mounts them.
//
// It is for the box alone, where nobody else mounts anything; on a PC that is the desktop's work. A disk that arrives is
// mounted for reading only, without replaying its journal: nothing on it is changed before Write asks for that, which is
// when it belongs to the box's vault or its owner gave it to the box. Write has the file system's own program mend what a
// power cut left before the first byte is written (docs/adr/016-file-systems-without-a-journal.md); what that cannot mend
// stays mounted for reading. No disk is ever formatted. The disks that this system runs from are never touched.
//
// A disk is one drive, whatever its partitions are: two of them would die together.
package attach
