// Package conformance holds the API to its own OpenAPI document with a stranger's validator: the document to OpenAPI 3.1,
// and calls and answers to the document. It is a package of its own, of tests only, because that validator takes longer
// to compile than all of the API.
package conformance
