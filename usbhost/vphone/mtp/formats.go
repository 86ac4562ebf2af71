package mtp

import "strings"

// Object formats (MTP 1.1, appendix A) that AOSP tells apart by the name's extension.
const (
	formatUndefined = 0x3000
	formatFolder    = 0x3001
	formatText      = 0x3004
	formatHTML      = 0x3005
	formatWAV       = 0x3008
	formatMP3       = 0x3009
	formatMPEG      = 0x300b
	formatJPEG      = 0x3801
	formatBMP       = 0x3804
	formatGIF       = 0x3807
	formatPNG       = 0x380b
	formatTIFF      = 0x380d
	formatDNG       = 0x3811
	formatHEIF      = 0x3812
	formatWMA       = 0xb901
	formatOGG       = 0xb902
	formatAAC       = 0xb903
	formatFLAC      = 0xb906
	formatWMV       = 0xb981
	formatMP4       = 0xb982
	format3GP       = 0xb984
	formatM3U       = 0xba11
	formatXML       = 0xba82
)

func playbackFormats() []uint16 {
	return []uint16{formatUndefined, formatFolder, formatText, formatHTML, formatWAV, formatMP3, formatMPEG, formatJPEG,
		0x3802, formatBMP, formatGIF, 0x3808, formatPNG, formatTIFF, formatWMA, formatOGG, formatAAC, formatMP4, 0xb983,
		format3GP, 0xba05, 0xba10, formatM3U, 0xba14, formatXML, formatFLAC, formatDNG, formatHEIF}
}

func formatOf(name string, folder bool) uint16 {
	if folder {
		return formatFolder
	}
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 {
		return formatUndefined
	}
	switch strings.ToLower(name[dot+1:]) {
	case "jpg", "jpeg":
		return formatJPEG
	case "heic", "heif":
		return formatHEIF
	case "mp4", "m4v", "mov":
		return formatMP4
	case "png":
		return formatPNG
	case "gif":
		return formatGIF
	case "bmp":
		return formatBMP
	case "dng":
		return formatDNG
	case "tif", "tiff":
		return formatTIFF
	case "mp3":
		return formatMP3
	case "wav":
		return formatWAV
	case "ogg", "oga":
		return formatOGG
	case "aac":
		return formatAAC
	case "flac":
		return formatFLAC
	case "wma":
		return formatWMA
	}
	return otherFormat(strings.ToLower(name[dot+1:]))
}

func otherFormat(ext string) uint16 {
	switch ext {
	case "3gp", "3gpp":
		return format3GP
	case "mpg", "mpeg":
		return formatMPEG
	case "wmv":
		return formatWMV
	case "m3u":
		return formatM3U
	case "txt":
		return formatText
	case "htm", "html":
		return formatHTML
	case "xml":
		return formatXML
	}
	return formatUndefined
}
