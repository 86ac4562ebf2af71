package main

import _ "github.com/gokrazy/firmware" // only its files are used; this has go.mod pin them
