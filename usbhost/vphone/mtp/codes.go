package mtp

// Container types (MTP 1.1, appendix H.1 "USB container dataset").
const (
	typeCommand  = 1
	typeData     = 2
	typeResponse = 3
	typeEvent    = 4
)

// headerSize is the length of a container's header in bytes.
const headerSize = 12

// Operation codes (MTP 1.1, appendix D); the 95Cx are Android's.
const (
	OpGetDeviceInfo           = 0x1001
	OpOpenSession             = 0x1002
	OpCloseSession            = 0x1003
	OpGetStorageIDs           = 0x1004
	OpGetStorageInfo          = 0x1005
	OpGetNumObjects           = 0x1006
	OpGetObjectHandles        = 0x1007
	OpGetObjectInfo           = 0x1008
	OpGetObject               = 0x1009
	OpGetThumb                = 0x100a
	OpDeleteObject            = 0x100b
	OpSendObjectInfo          = 0x100c
	OpSendObject              = 0x100d
	OpResetDevice             = 0x1010
	OpGetDevicePropDesc       = 0x1014
	OpGetDevicePropValue      = 0x1015
	OpSetDevicePropValue      = 0x1016
	OpResetDevicePropValue    = 0x1017
	OpMoveObject              = 0x1019
	OpCopyObject              = 0x101a
	OpGetPartialObject        = 0x101b
	OpGetObjectPropsSupported = 0x9801
	OpGetObjectPropDesc       = 0x9802
	OpGetObjectPropValue      = 0x9803
	OpSetObjectPropValue      = 0x9804
	OpGetObjectPropList       = 0x9805
	OpGetPartialObject64      = 0x95c1
	OpSendPartialObject       = 0x95c2
	OpTruncateObject          = 0x95c3
	OpBeginEditObject         = 0x95c4
	OpEndEditObject           = 0x95c5
)

// operations are those that AOSP's responder names, in its order.
func operations() []uint16 {
	return []uint16{
		OpGetDeviceInfo, OpOpenSession, OpCloseSession, OpGetStorageIDs, OpGetStorageInfo, OpGetNumObjects,
		OpGetObjectHandles, OpGetObjectInfo, OpGetObject, OpGetThumb, OpDeleteObject, OpSendObjectInfo, OpSendObject,
		OpResetDevice, OpGetDevicePropDesc, OpGetDevicePropValue, OpSetDevicePropValue, OpResetDevicePropValue,
		OpMoveObject, OpCopyObject, OpGetPartialObject, OpGetObjectPropsSupported, OpGetObjectPropDesc,
		OpGetObjectPropValue, OpSetObjectPropValue, OpGetObjectPropList, OpGetPartialObject64, OpSendPartialObject,
		OpTruncateObject, OpBeginEditObject, OpEndEditObject,
	}
}

// Response codes (MTP 1.1, appendix F).
const (
	respOK                      = 0x2001
	respGeneralError            = 0x2002
	respSessionNotOpen          = 0x2003
	respInvalidTransactionID    = 0x2004
	respOperationNotSupported   = 0x2005
	respParameterNotSupported   = 0x2006
	respInvalidStorageID        = 0x2008
	respInvalidObjectHandle     = 0x2009
	respDevicePropNotSupported  = 0x200a
	respStoreFull               = 0x200c
	respStoreReadOnly           = 0x200e
	respNoValidObjectInfo       = 0x2015
	respInvalidParentObject     = 0x201a
	respInvalidParameter        = 0x201d
	respSessionAlreadyOpen      = 0x201e
	respTransactionCancelled    = 0x201f
	respInvalidObjectPropCode   = 0xa801
	respInvalidObjectPropFormat = 0xa802
	respGroupUnsupported        = 0xa807
	respDepthUnsupported        = 0xa808
	respObjectPropNotSupported  = 0xa80a
)

// Event codes (MTP 1.1, appendix G).
const (
	eventObjectAdded       = 0x4002
	eventObjectRemoved     = 0x4003
	eventStoreAdded        = 0x4004
	eventStoreRemoved      = 0x4005
	eventDevicePropChanged = 0x4006
	eventObjectInfoChanged = 0x4007
)

func events() []uint16 {
	return []uint16{eventObjectAdded, eventObjectRemoved, eventStoreAdded, eventStoreRemoved, eventDevicePropChanged,
		eventObjectInfoChanged}
}

// Class requests on the control endpoint (USB Still Image Capture Device Definition 1.0, section 5.2).
const (
	reqCancel        = 0x64
	reqExtendedEvent = 0x65
	reqReset         = 0x66
	reqStatus        = 0x67
)

// Data types (MTP 1.1, appendix "Simple types").
const (
	typeUndefined = 0x0000
	typeUint8     = 0x0002
	typeUint16    = 0x0004
	typeUint32    = 0x0006
	typeUint64    = 0x0008
	typeUint128   = 0x000a
	typeString    = 0xffff
)

// all stands for every storage, every property, the root as a parent, any depth, and a size that 32 bits cannot hold.
const all = 0xffffffff
