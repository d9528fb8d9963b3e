package api

import (
	"crypto/sha256"
	"encoding/hex"
)

// Digest and BodySum make the names of calls.
func Digest(parts ...string) string { return digest(parts...) }

func BodySum(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// FileName is what a batch is called whose sender used this name and content type.
func FileName(name, contentType string) string { return fileName(name, kinds()[contentType]) }
