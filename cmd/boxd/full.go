//go:build !rescue

package main

// guides says whether boxd without a command talks to people who know none.
const guides = false

// commands are all of the command line.
func commands() []command {
	return []command{
		{"run", "", "the box on this computer: phones over USB, drives, lights and the page, until it is stopped", runCommand},
		{"demo", "", "a whole box in one process, nothing plugged in; ends with a proof", demoCommand},
		{"phones", "[enrol|forget PHONE]", "what is plugged in, and what each can give now; which ones boxd run backs up", phonesCommand},
		{"backup", "PHONE", "back a phone up into the vault", backupCommand},
		{"snapshots", "", "list what the vault holds, newest first", snapshotsCommand},
		{"ls", "SNAPSHOT [PATH]", "list a folder of a snapshot", lsCommand},
		{"cat", "SNAPSHOT PATH", "write a file of a snapshot to standard output", catCommand},
		{"restore", "SNAPSHOT", "put a snapshot into a folder (--to) or onto a phone (--phone)", restoreCommand},
		{"receipt", "", "what the last restore by the button put onto the phone, and what is left to do", receiptCommand},
		{"vault create", "", "make a vault over the drives; prints its 24 words once", vaultCreateCommand},
		{"vault status", "", "is everything there, and how many drives may still die", vaultStatusCommand},
		{"vault verify", "", "read back and decrypt everything", vaultVerifyCommand},
		{"vault scrub", "", "read every copy and shard and check its checksums; changes nothing", vaultScrubCommand},
		{"vault repair", "", "mend damage and bring everything back to full protection", vaultRepairCommand},
		{"vault prune", "", "remove old snapshots, and all that none of the others needs", vaultPruneCommand},
		{"vault rekey", "", "after a leak: seal everything anew, with a new key and new words", vaultRekeyCommand},
		{"vault export", "[SNAPSHOT]", "write a plain restic repository, or one snapshot's files, into a folder", vaultExportCommand},
		{"vault import", "REPO", "take the snapshots of a restic repository in", vaultImportCommand},
		{"vault serve", "", "offer the vault, read-only, to restic and its kin on this computer; needs no key", vaultServeCommand},
		{"drive add", "DIR", "take a new drive into the vault", driveAddCommand},
		{"drive refresh", "DIR", "bring the ordinary files on a plain drive up to date", driveRefreshCommand},
		{"drive remove", "DIR|ID", "give a drive up for good", driveRemoveCommand},
		{"drive travels", "DIR|ID", "a drive is often away, at a relative's say, and that is no fault (--no: not any more)", driveTravelsCommand},
		{"drive replace", "OLD-ID NEW-DIR", "give a drive up and take a new one in its place", driveReplaceCommand},
		{"drive eject", "DIR|ID", "make a drive safe to unplug: flush, unmount, stop", driveEjectCommand},
		{"key words", "", "print the 24 words of a key file", keyWordsCommand},
		{"key check", "", "do these words open this vault?", keyCheckCommand},
		{"key add", "", "let a passphrase, or 24 more words, open this vault too", keyAddCommand},
		{"key remove", "ID", "let one of the keys open nothing any more; key check lists them", keyRemoveCommand},
		{"key rotate", "", "new 24 words in the place of the old ones", keyRotateCommand},
		{"key stick", "DIR", "put the words and the key onto a USB stick of their own", keyStickCommand},
		{"unlock", "", "make a blank card the same box: its key and state, from a key stick and the drives", unlockCommand},
		{"selftest", "", "try the drives out with a throw-away set of blobs", selftestCommand},
		{"update", "FILE|status", "on the box: put new software onto the card, to be tried at the next start; what it runs now", updateCommand},
		{"report", "", "what to send to whoever helps: how the box is, its log, no names and no secrets", reportCommand},
		{"version", "", "print the version", versionCommand},
	}
}

// later are the commands of the contract that this build does not have.
var later = []string{"cloud", "import"}
