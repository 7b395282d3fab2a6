package telemetry

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// maskedCRC is TFRecord's checksum: CRC-32C, rotated and offset so that a checksum of data that holds checksums stays
// useful.
func maskedCRC(data []byte) uint32 {
	crc := crc32.Checksum(data, castagnoli)
	return (crc>>15 | crc<<17) + 0xa282ead8
}

// appendTFRecord frames data: length (8 bytes), checksum of the length, data, checksum of the data; little endian.
func appendTFRecord(b, data []byte) []byte {
	start := len(b)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(data)))
	b = binary.LittleEndian.AppendUint32(b, maskedCRC(b[start:]))
	b = append(b, data...)
	return binary.LittleEndian.AppendUint32(b, maskedCRC(data))
}

// proto builds a protocol buffer message field by field.
type proto []byte

// Wire types of protocol buffers.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

func (p proto) tag(field, wire int) proto {
	return binary.AppendUvarint(p, uint64(field<<3|wire))
}

func (p proto) varint(field int, x uint64) proto {
	return binary.AppendUvarint(p.tag(field, wireVarint), x)
}

func (p proto) double(field int, x float64) proto {
	return binary.LittleEndian.AppendUint64(p.tag(field, wireFixed64), math.Float64bits(x))
}

func (p proto) float(field int, x float32) proto {
	return binary.LittleEndian.AppendUint32(p.tag(field, wireFixed32), math.Float32bits(x))
}

func (p proto) bytes(field int, data []byte) proto {
	return append(binary.AppendUvarint(p.tag(field, wireBytes), uint64(len(data))), data...)
}

func (p proto) string(field int, s string) proto { return p.bytes(field, []byte(s)) }
