package ottu

// For the fuzz test, which needs no server.
var DecodeSession = decodeSession
