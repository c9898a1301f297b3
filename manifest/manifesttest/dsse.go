package manifesttest

import (
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	"google.golang.org/protobuf/encoding/protojson"
)

func marshalDSSE(b *protobundle.Bundle, payload []byte, kind string, sig []byte) ([]byte, error) {
	b.Content = &protobundle.Bundle_DsseEnvelope{DsseEnvelope: &protodsse.Envelope{
		Payload: payload, PayloadType: kind, Signatures: []*protodsse.Signature{{Sig: sig}}}}
	return protojson.Marshal(b)
}
