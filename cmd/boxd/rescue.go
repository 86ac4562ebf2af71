//go:build rescue

package main

import (
	"context"

	"phonebackupbox/usbhost"
)

// guides: started without a command, by a double click perhaps, it asks its way through a restore.
const guides = true

// commands of the program that lies on every drive: what gets the backups back, and nothing that writes to a drive.
func commands() []command {
	return []command{
		{"snapshots", "", "list what the vault holds, newest first", snapshotsCommand},
		{"ls", "SNAPSHOT [PATH]", "list a folder of a snapshot", lsCommand},
		{"cat", "SNAPSHOT PATH", "write a file of a snapshot to standard output", catCommand},
		{"restore", "SNAPSHOT", "put a snapshot into a folder (--to)", restoreCommand},
		{"vault status", "", "is everything there, and how many drives may still die", vaultStatusCommand},
		{"vault verify", "", "read back and decrypt everything", vaultVerifyCommand},
		{"vault scrub", "", "read every copy and shard and check its checksums; changes nothing", vaultScrubCommand},
		{"vault export", "[SNAPSHOT]", "write a plain restic repository, or one snapshot's files, into a folder", vaultExportCommand},
		{"vault serve", "", "offer the vault, read-only, to restic and its kin on this computer; needs no key", vaultServeCommand},
		{"key words", "", "print the 24 words of a key file", keyWordsCommand},
		{"key check", "", "do these words open this vault?", keyCheckCommand},
		{"version", "", "print the version", versionCommand},
	}
}

// later is empty: what this build lacks, the box's own has.
var later []string

// showPages has nothing to do: this program writes to no drive.
func (r *rack) showPages() {}

// openUSB refuses: this program puts backups into folders.
func openUSB(_ context.Context, name, _ string) (usbhost.Phone, error) {
	return nil, usageError{printable(name) + ": this program reaches no phone over USB", "write folder:PATH"}
}
