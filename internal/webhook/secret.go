package webhook

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const (
	secretPrefix = "whsec_"
	// minSecret is the shortest key in bytes. Standard Webhooks: "At least 24
	// bytes (192 bits, 512 maximum)". Longer plain texts do no harm.
	minSecret = 24
)

// newSigner makes the signer of a secret: with the prefix of Standard Webhooks
// the key is what the base64 after it stands for, otherwise the text itself.
// The library would take base64 without the prefix, too, and so give two
// meanings to a text such as a long hexadecimal number.
func newSigner(secret string) (*standardwebhooks.Webhook, error) {
	key := []byte(secret)
	if encoded, ok := strings.CutPrefix(secret, secretPrefix); ok {
		var err error
		if key, err = base64.StdEncoding.DecodeString(encoded); err != nil {
			return nil, errors.New("begins with whsec_, and what follows is not base64 with its padding")
		}
	}
	if len(key) < minSecret {
		return nil, fmt.Errorf("has %d bytes, allowed are %d or more: whsec_ and their base64, or plain text", len(key), minSecret)
	}
	return standardwebhooks.NewWebhookRaw(key)
}
