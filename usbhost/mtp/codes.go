package mtp

import "fmt"

// Operation is an operation code (MTP 1.1, appendix D; 0x95C1 to 0x95C5 are Android's extensions).
type Operation uint16

// Operations that this initiator uses.
const (
	opGetDeviceInfo      Operation = 0x1001
	opOpenSession        Operation = 0x1002
	opCloseSession       Operation = 0x1003
	opGetStorageIDs      Operation = 0x1004
	opGetStorageInfo     Operation = 0x1005
	opGetObjectHandles   Operation = 0x1007
	opGetObjectInfo      Operation = 0x1008
	opGetObject          Operation = 0x1009
	opDeleteObject       Operation = 0x100B
	opSendObjectInfo     Operation = 0x100C
	opSendObject         Operation = 0x100D
	opGetDevicePropValue Operation = 0x1015
	opGetPartialObject   Operation = 0x101B
	opGetObjectPropValue Operation = 0x9803
	opGetObjectPropList  Operation = 0x9805
	opGetPartialObject64 Operation = 0x95C1
)

// propDateTime is the device property that tells the phone's clock (MTP 1.1, appendix C.2.18).
const propDateTime = 0x5011

// Object property codes (MTP 1.1, appendix B).
const (
	propStorageID    = 0xDC01
	propFormat       = 0xDC02
	propSize         = 0xDC04
	propFileName     = 0xDC07
	propDateModified = 0xDC09
	propParent       = 0xDC0B
)

// Object format codes (MTP 1.1, appendix A).
const (
	formatUndefined   = 0x3000
	formatAssociation = 0x3001 // a folder
)

// Event codes (MTP 1.1, appendix G).
const (
	eventObjectAdded        = 0x4002
	eventObjectRemoved      = 0x4003
	eventStoreAdded         = 0x4004
	eventStoreRemoved       = 0x4005
	eventObjectInfoChanged  = 0x4007
	eventDeviceInfoChanged  = 0x4008
	eventStorageInfoChanged = 0x400C
)

// Class requests on the control endpoint (USB Still Image Capture Device Definition 1.0, section 5.2).
const (
	requestCancel = 0x64
	requestReset  = 0x66
	requestStatus = 0x67
)

// sizeUnknown stands for a length of 4 GiB - 1 or more in 32-bit fields: container lengths and ObjectCompressedSize.
const sizeUnknown = 0xFFFFFFFF

// Handles with a meaning of their own: which one depends on the operation (MTP 1.1, appendix D).
const (
	handleAll  = 0xFFFFFFFF // "every object", or "in the root of the storage"
	handleNone = 0
)

// Code is a response code (MTP 1.1, appendix F). It is the error of an operation that the phone answered with anything
// but OK; errors.As finds it.
type Code uint16

// Response codes that the driver acts upon.
const (
	OK                     Code = 0x2001
	GeneralError           Code = 0x2002
	SessionNotOpen         Code = 0x2003
	InvalidTransactionID   Code = 0x2004
	OperationNotSupported  Code = 0x2005
	ParameterNotSupported  Code = 0x2006
	IncompleteTransfer     Code = 0x2007
	InvalidStorageID       Code = 0x2008
	InvalidObjectHandle    Code = 0x2009
	StoreFull              Code = 0x200C
	ObjectWriteProtected   Code = 0x200D
	StoreReadOnly          Code = 0x200E
	AccessDenied           Code = 0x200F
	StoreNotAvailable      Code = 0x2013
	NoValidObjectInfo      Code = 0x2015
	DeviceBusy             Code = 0x2019
	InvalidParentObject    Code = 0x201A
	InvalidParameter       Code = 0x201D
	SessionAlreadyOpen     Code = 0x201E
	TransactionCancelled   Code = 0x201F
	InvalidObjectPropCode  Code = 0xA801
	GroupUnsupported       Code = 0xA807
	DepthUnsupported       Code = 0xA808
	ObjectTooLarge         Code = 0xA809
	ObjectPropNotSupported Code = 0xA80A
)

// Error gives the code's name and, for people, what it means.
func (c Code) Error() string {
	var s string
	switch c {
	case OK:
		s = "OK"
	case GeneralError:
		s = "general error"
	case SessionNotOpen:
		s = "session not open"
	case InvalidTransactionID:
		s = "invalid transaction"
	case OperationNotSupported:
		s = "operation not supported"
	case ParameterNotSupported:
		s = "parameter not supported"
	case IncompleteTransfer:
		s = "incomplete transfer"
	case InvalidStorageID:
		s = "no such storage"
	case InvalidObjectHandle:
		s = "no such object"
	case StoreFull:
		s = "storage full"
	case ObjectWriteProtected:
		s = "object write-protected"
	case StoreReadOnly:
		s = "storage read-only"
	case AccessDenied:
		s = "access denied"
	case StoreNotAvailable:
		s = "storage not available"
	case NoValidObjectInfo:
		s = "no valid object info"
	case DeviceBusy:
		s = "device busy"
	case InvalidParentObject:
		s = "no such parent folder"
	case InvalidParameter:
		s = "invalid parameter"
	case SessionAlreadyOpen:
		s = "session already open"
	case TransactionCancelled:
		s = "transaction cancelled"
	case InvalidObjectPropCode:
		s = "no such property"
	case GroupUnsupported:
		s = "specification by group unsupported"
	case DepthUnsupported:
		s = "specification by depth unsupported"
	case ObjectTooLarge:
		s = "object too large for the storage"
	case ObjectPropNotSupported:
		s = "property not supported"
	default:
		return fmt.Sprintf("response %#04x", uint16(c))
	}
	return fmt.Sprintf("%s (%#04x)", s, uint16(c))
}
