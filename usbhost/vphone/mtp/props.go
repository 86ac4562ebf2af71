package mtp

import (
	"hash/fnv"

	"phonebackupbox/usbhost/vphone"
)

// Object properties (MTP 1.1, appendix B).
const (
	propStorageID     = 0xdc01
	propObjectFormat  = 0xdc02
	propProtection    = 0xdc03
	propObjectSize    = 0xdc04
	propFileName      = 0xdc07
	propDateModified  = 0xdc09
	propParent        = 0xdc0b
	propPersistentUID = 0xdc41
	propName          = 0xdc44
	propArtist        = 0xdc46
	propDescription   = 0xdc48
	propDateAdded     = 0xdc4e
	propDuration      = 0xdc89
	propTrack         = 0xdc8b
	propGenre         = 0xdc8c
	propComposer      = 0xdc96
	propReleaseDate   = 0xdc99
	propAlbumName     = 0xdc9a
	propAlbumArtist   = 0xdc9b
	propDisplayName   = 0xdce0
	propBitrateType   = 0xde92
	propSampleRate    = 0xde93
	propChannels      = 0xde94
	propWaveCodec     = 0xde99
	propBitRate       = 0xde9a
)

// objectProps are the properties that AOSP has for a format: eleven for every object, more for what its media database
// knows about.
func objectProps(format uint16) []uint16 {
	props := []uint16{propStorageID, propObjectFormat, propProtection, propObjectSize, propFileName, propDateModified,
		propPersistentUID, propParent, propName, propDisplayName, propDateAdded}
	switch format {
	case formatMP3, formatWAV, formatWMA, formatOGG, formatAAC:
		props = append(props, propArtist, propAlbumName, propAlbumArtist, propTrack, propReleaseDate, propDuration,
			propGenre, propComposer, propWaveCodec, propBitrateType, propBitRate, propChannels, propSampleRate)
	case formatMPEG, format3GP, formatWMV:
		props = append(props, propArtist, propAlbumName, propDuration, propDescription)
	case formatJPEG, formatGIF, formatPNG, formatBMP, formatDNG, formatHEIF:
		props = append(props, propDescription)
	}
	return props
}

// propType is a property's data type; 0 for a property that AOSP does not have.
func propType(prop uint16) uint16 {
	switch prop {
	case propStorageID, propParent, propDuration, propWaveCodec, propBitRate, propSampleRate:
		return typeUint32
	case propObjectFormat, propProtection, propTrack, propBitrateType, propChannels:
		return typeUint16
	case propObjectSize:
		return typeUint64
	case propPersistentUID:
		return typeUint128
	case propFileName, propDateModified, propName, propDisplayName, propDateAdded, propArtist, propAlbumName,
		propAlbumArtist, propReleaseDate, propGenre, propComposer, propDescription:
		return typeString
	}
	return typeUndefined
}

// putProp puts one value. A property of no known type has none.
func (s *server) putProp(d *dataset, st *store, info vphone.Info, date string, prop uint16) {
	switch prop {
	case propStorageID:
		d.u32(st.id)
	case propObjectFormat:
		d.u16(formatOf(info.Name, info.Folder))
	case propObjectSize:
		d.u64(uint64(info.Size()))
	case propFileName, propName, propDisplayName:
		d.str(info.Name)
	case propDateModified, propDateAdded:
		d.str(date)
	case propParent:
		d.u32(s.handleOf(st, info.Parent))
	case propPersistentUID:
		d.u128(persistentUID(st.Path(info.Node), info))
	case propReleaseDate:
		d.str("00101T000000") // year 0, as AOSP writes it of a song without a year
	default:
		putZero(d, propType(prop))
	}
}

func putZero(d *dataset, dataType uint16) {
	switch dataType {
	case typeString:
		d.str("")
	case typeUint16:
		d.u16(0)
	case typeUint32:
		d.u32(0)
	case typeUint64:
		d.u64(0)
	case typeUint128:
		d.u128(0)
	}
}

// persistentUID is AOSP's: a hash of the path plus the time in seconds. It is not unique, and it changes with the time.
func persistentUID(path string, info vphone.Info) uint64 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(path)) // a hash.Hash never fails
	return uint64(int64(int32(h.Sum32())) + info.ModTime.Unix())
}

func (s *server) getObjectPropsSupported(c command) (response, error) {
	d := newDataset(64)
	d.list16(objectProps(uint16(c.params[0])))
	if err := s.sendData(c, d); err != nil {
		return response{}, err
	}
	return respond(respOK)
}

// getObjectPropDesc answers with an ObjectPropDesc dataset (MTP 1.1, section 5.3.2.3). Only the file name may be set.
func (s *server) getObjectPropDesc(c command) (response, error) {
	prop := uint16(c.params[0])
	dataType := propType(prop)
	if dataType == typeUndefined {
		return respond(respObjectPropNotSupported)
	}
	d := newDataset(32)
	d.u16(prop)
	d.u16(dataType)
	if prop == propFileName {
		d.u8(1)
	} else {
		d.u8(0)
	}
	if prop == propObjectFormat {
		d.u16(uint16(c.params[1]))
	} else {
		putZero(&d, dataType)
	}
	d.u32(0) // group
	switch prop {
	case propDateModified, propDateAdded, propReleaseDate:
		d.u8(3) // form: DateTime
	default:
		d.u8(0)
	}
	if err := s.sendData(c, d); err != nil {
		return response{}, err
	}
	return respond(respOK)
}

func (s *server) getObjectPropValue(c command) (response, error) {
	o, real, ok := s.lookup(c.params[0])
	if !ok {
		return respond(respInvalidObjectHandle)
	}
	prop := uint16(c.params[1])
	if propType(prop) == typeUndefined {
		return respond(respInvalidObjectPropFormat)
	}
	info, date, ok := s.told(item{o.store, real})
	if !ok {
		return respond(respGeneralError)
	}
	d := newDataset(64)
	s.putProp(&d, o.store, info, date, prop)
	if err := s.sendData(c, d); err != nil {
		return response{}, err
	}
	return respond(respOK)
}

// elementSize is about what one property takes in a list, for one allocation instead of many.
const elementSize = 32

// getObjectPropList answers 9805 (MTP 1.1, appendix E.2.5 "GetObjectPropList"; semantics as in AOSP). A refusal comes with
// an empty list as its data, since AOSP has written the count before it looks at the result.
func (s *server) getObjectPropList(c command) (response, error) {
	d := newDataset(4)
	items, code := s.propListItems(c)
	if code == respOK {
		d, code = s.propList(items, c)
	}
	if code != respOK {
		d = newDataset(4)
		d.u32(0)
	}
	if err := s.sendData(c, d); err != nil {
		return response{}, err
	}
	return respond(code)
}

// propListItems chooses the objects that a query is about.
func (s *server) propListItems(c command) ([]item, uint16) {
	handle, format, prop, group, depth := c.params[0], c.params[1], c.params[2], c.params[3], c.params[4]
	q := s.phone.cfg.Quirks
	if prop == 0 {
		if group == 0 {
			return nil, respParameterNotSupported
		}
		return nil, respGroupUnsupported
	}
	if q.IgnoresDepth {
		if depth = 0; handle == all || handle == 0 {
			return nil, respInvalidObjectHandle
		}
	}
	if depth == all && (handle == 0 || handle == all) && !q.PerFolderOnly {
		if handle, depth = all, 0; q.ListsRootsOnly {
			handle = 0
		}
	}
	if depth > 1 || handle == all && q.PerFolderOnly {
		return nil, respDepthUnsupported
	}
	if handle == 0 && q.RootZeroInvalid {
		return nil, respInvalidObjectHandle
	}
	var items []item
	var self *item
	switch handle {
	case 0:
	case all:
		var ok bool
		if items, ok = s.list(all, format, 0); !ok {
			return nil, respInvalidObjectHandle
		}
	default:
		o, info, ok := s.lookup(handle)
		if !ok {
			return nil, respInvalidObjectHandle
		}
		if it := (item{o.store, info}); format == 0 || uint32(it.format()) == format {
			self = &it
		}
	}
	if handle == 0 || depth == 1 {
		if handle == 0 {
			handle = all
		}
		var ok bool
		if items, ok = s.list(all, format, handle); !ok {
			return nil, respInvalidObjectHandle
		}
	}
	if self != nil {
		items = append(items, *self) // behind its children, as AOSP does it
	}
	return items, respOK
}

func (s *server) sizeless(i item) bool {
	if !s.phone.faulty() {
		return false
	}
	f, _ := s.phone.look(i.store.Path(i.Node))
	return f.sizeless
}

// propList writes the elements of a list: handle, property, type, value.
func (s *server) propList(items []item, c command) (dataset, uint16) {
	handle, format, prop := c.params[0], c.params[1], c.params[2]
	per := 1
	if prop == all {
		per = len(objectProps(formatMP3))
	}
	d := newDataset(4 + len(items)*min(per, 11)*elementSize)
	d.u32(0) // the count, filled in below
	count := 0
	for _, it := range items {
		props := []uint16{uint16(prop)}
		if prop == all {
			if format == 0 && handle != 0 && handle != all {
				format = uint32(it.format()) // of the first object, and it stays: so AOSP does it
			}
			props = objectProps(uint16(format))
		}
		info, date, ok := s.told(it)
		if !ok {
			return nil, respGeneralError
		}
		h := s.handleOf(it.store, it.Node)
		for _, p := range props {
			d.u32(h)
			d.u16(p)
			if p == propObjectSize && s.sizeless(it) {
				d.u16(typeUint32)
				d.u32(all)
				count++
				continue
			}
			d.u16(propType(p))
			s.putProp(&d, it.store, info, date, p)
			count++
		}
	}
	fields := d[headerSize:]
	fields[0], fields[1], fields[2], fields[3] = byte(count), byte(count>>8), byte(count>>16), byte(count>>24)
	return d, respOK
}
