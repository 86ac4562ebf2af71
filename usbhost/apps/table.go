package apps

import "io/fs"

// A kind is what is known of one app.
type kind struct {
	name   string
	places []string // below a storage's root
	backup func(c *copies, name string, info fs.FileInfo) bool
	chats  string             // where its chats are, for an app that writes no backup; a sentence without its stop
	steps  func(App) []string // to have it on another phone
}

// table is what is known of apps. The places of WhatsApp and Signal are those of their makers' help pages (faq.whatsapp.com,
// support.signal.org "On-device Backups"); Signal asks for a folder, so the likely ones are listed. The others' are the folders
// that public storage cleaners and forensic tools agree on. Android 11 moved what apps write into Android/media/PACKAGE.
var table = []kind{
	{"WhatsApp", []string{"Android/media/com.whatsapp/WhatsApp", "WhatsApp"}, whatsApp, "", whatsAppSteps},
	{"WhatsApp Business", []string{"Android/media/com.whatsapp.w4b/WhatsApp Business", "WhatsApp Business"}, whatsApp, "", whatsAppSteps},
	{"Signal", []string{"Signal", "SignalBackups", "Documents/SignalBackups", "Download/SignalBackups", "Documents/Signal", "Download/Signal",
		"Android/media/org.thoughtcrime.securesms", "Pictures/Signal"}, signal, "", signalSteps},
	{"Telegram", []string{"Android/media/org.telegram.messenger/Telegram", "Android/media/org.telegram.messenger.web/Telegram", "Telegram",
		"Pictures/Telegram", "Movies/Telegram", "Download/Telegram"}, nil, "its chats are in its cloud", signIn("Telegram",
		"the chats come from its cloud; secret chats stay on the old phone")},
	{"Instagram", []string{"Pictures/Instagram", "Movies/Instagram"}, nil, "only what was saved from it; the rest is with the account",
		signIn("Instagram", "saved pictures and films are in the gallery")},
	{"Facebook", []string{"DCIM/Facebook", "Pictures/Facebook", "Movies/Facebook"}, nil, "only what was saved from it; the rest is with the account",
		signIn("Facebook", "saved pictures and films are in the gallery")},
	{"Messenger", []string{"Pictures/Messenger", "Movies/Messenger"}, nil, "only what was saved from it; the chats are with the account",
		signIn("Messenger", "saved pictures and films are in the gallery")},
	{"Viber", []string{"Android/media/com.viber.voip", "Viber", "viber", "Pictures/Viber"}, nil,
		"its chats are not among the phone's files; Viber can keep a backup of them on Google Drive (Settings, Account, Viber Backup)",
		signIn("Viber", "the chats come from its own backup on Google Drive, if one was made")},
	{"LINE", []string{"Android/media/jp.naver.line.android", "Pictures/LINE"}, nil,
		"its chats are not among the phone's files; LINE can keep a backup of them on Google Drive (Settings, Chats, Back up chat history)",
		signIn("LINE", "the chats come from its own backup on Google Drive, if one was made")},
}

// Chats says where the chats are of an app that writes no backup into the phone's storage; "" for one that does.
func (a App) Chats() string { return a.kind.chats }

// Hint says what is wrong with an app's own backup and what to do about it on the phone; "" if nothing is.
func (a App) Hint() string {
	if a.Name == "Signal" {
		switch a.State {
		case Missing:
			return "no backup of its chats was found. To switch it on: Signal's Settings, Backups, On-device backups, Turn on backups; choose a folder in Documents; write down the key that it shows"
		case Old:
			return "nothing newer was written for days. On the phone: Signal's Settings, Backups, On-device backups; give it a schedule, or make one now"
		}
		return ""
	}
	const now = "On the phone: " + "Settings, Chats, Chat backup, Back up"
	switch a.State {
	case Missing:
		return "no backup of its chats was found, and without one they cannot be had on another phone. " + now
	case Fragments:
		return "only increments of a backup were found, which are useless without the full file. " + now
	case Old:
		return "nothing newer was written for days. " + now
	}
	return ""
}

// Steps say what a person must do to have the app's chats and media on a phone that the snapshot was restored to, in order.
func (a App) Steps() []string { return a.kind.steps(a) }

func whatsAppSteps(a App) []string {
	if a.Backup.IsZero() {
		return []string{"its chats cannot be restored: the snapshot holds no backup of them that is whole. Its media are on the phone"}
	}
	steps := []string{
		"install it now, not before: it looks for its backup when it is opened for the first time",
		"if it was opened on this phone before: remove it, restore this snapshot once more, and install it then",
		"open it, give the same telephone number as on the old phone, and tap Restore when it asks",
	}
	if a.Sealed {
		steps = append(steps, "it asks for the password or the 64-digit key of its backups, which only their owner has")
	}
	return steps
}

func signalSteps(a App) []string {
	if a.Backup.IsZero() {
		return []string{"its chats cannot be restored: the snapshot holds no backup of them. From the old phone, if it still works: Signal's Settings, Account, Transfer account"}
	}
	if a.byKind.(copies).folder {
		return []string{
			`install it; on the screen "Restore or transfer account" choose From a local backup, and choose the whole folder`,
			"it asks for the recovery key that was written down when backups were switched on; without it nobody can open the backup",
		}
	}
	return []string{
		"install it; choose Transfer or restore account, then Restore from backup, and choose the newest file",
		"it asks for the 30-digit code that was written down when backups were switched on; without it nobody can open the backup",
	}
}

func signIn(name, then string) func(App) []string {
	return func(App) []string { return []string{"install " + name + " and sign in: " + then} }
}
