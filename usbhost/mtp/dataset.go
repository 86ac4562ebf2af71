package mtp

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"
)

// deviceInfo is what matters of the DeviceInfo dataset (MTP 1.1, section 5.1.1).
type deviceInfo struct {
	operations, properties        []uint16
	maker, model, version, serial string
}

func parseDeviceInfo(b []byte) (deviceInfo, error) {
	c := cursor{b: b}
	c.u16()          // standard version
	c.u32()          // vendor extension ID: never trusted
	c.u16()          // vendor extension version
	c.str()          // vendor extension description
	c.u16()          // functional mode
	var d deviceInfo // order of fields as in the specification
	d.operations = c.u16s()
	c.u16s() // events
	d.properties = c.u16s()
	c.u16s() // capture formats
	c.u16s() // playback formats
	d.maker, d.model, d.version, d.serial = c.str(), c.str(), c.str(), c.str()
	if c.err != nil {
		return deviceInfo{}, fmt.Errorf("device info: %w", c.err)
	}
	return d, nil
}

// supports reports whether the phone lists the operation. Nothing else tells: vendor IDs lie.
func (d deviceInfo) supports(op Operation) bool { return slices.Contains(d.operations, uint16(op)) }

// storageInfo is what matters of the StorageInfo dataset (MTP 1.1, section 5.2.2).
type storageInfo struct {
	id          uint32
	access      uint16 // 0: read and write
	total, free uint64 // bytes
	description string
	volume      string
}

func parseStorageInfo(b []byte) (storageInfo, error) {
	c := cursor{b: b}
	c.u16() // storage type
	c.u16() // file system type
	var s storageInfo
	s.access = c.u16()
	s.total, s.free = c.u64(), c.u64()
	c.u32() // free space in objects
	s.description, s.volume = c.str(), c.str()
	if c.err != nil {
		return storageInfo{}, fmt.Errorf("storage info: %w", c.err)
	}
	return s, nil
}

// objectInfo is what matters of the ObjectInfo dataset (MTP 1.1, section 5.3.1).
type objectInfo struct {
	storage  uint32
	format   uint16
	size     uint32 // bytes; sizeUnknown: 4 GiB - 1 or more
	parent   uint32
	name     string
	modified string
}

func parseObjectInfo(b []byte) (objectInfo, error) {
	c := cursor{b: b}
	var o objectInfo
	o.storage, o.format = c.u32(), c.u16()
	c.u16() // protection
	o.size = c.u32()
	c.u16() // thumbnail's format, size, width, height; image's width, height, depth
	for range 6 {
		c.u32()
	}
	o.parent = c.u32()
	c.u16() // association type
	c.u32() // association description
	c.u32() // sequence number
	o.name = c.str()
	created := c.str()
	o.modified = c.str()
	c.str() // keywords
	if o.modified == "" {
		o.modified = created
	}
	if c.err != nil {
		return objectInfo{}, fmt.Errorf("object info: %w", c.err)
	}
	return o, nil
}

// appendObjectInfo encodes the ObjectInfo dataset of an object to be sent; ok is false if its name fits no MTP string. A
// size of 4 GiB - 1 or more is sent as sizeUnknown, the time in UTC (see formatTime).
func appendObjectInfo(b []byte, format uint16, size int64, name string, mtime time.Time) (out []byte, ok bool) {
	le := binary.LittleEndian
	b = le.AppendUint32(b, 0) // storage: the operation's parameter tells
	b = le.AppendUint16(b, format)
	b = le.AppendUint16(b, 0) // protection: none
	b = le.AppendUint32(b, uint32(min(size, sizeUnknown)))
	b = append(b, make([]byte, 2+6*4)...) // thumbnail and image: none
	b = le.AppendUint32(b, 0)             // parent: the operation's parameter tells
	association := uint16(0)
	if format == formatAssociation {
		association = 1 // generic folder
	}
	b = le.AppendUint16(b, association)
	b = le.AppendUint32(b, 0) // association description
	b = le.AppendUint32(b, 0) // sequence number
	if b, ok = appendString(b, name); !ok {
		return nil, false
	}
	date := formatTime(mtime)
	for _, s := range []string{date, date, ""} { // created, modified, keywords
		if b, ok = appendString(b, s); !ok {
			return nil, false
		}
	}
	return b, true
}

func parseHandles(b []byte) ([]uint32, error) {
	c := cursor{b: b}
	a := c.u32s()
	if c.err != nil {
		return nil, fmt.Errorf("array: %w", c.err)
	}
	return a, nil
}
