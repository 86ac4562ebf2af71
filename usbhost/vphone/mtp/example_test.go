package mtp_test

import (
	"fmt"
	"time"

	"phonebackupbox/usbhost/vphone"
	"phonebackupbox/usbhost/vphone/mtp"
)

// A phone with one photo and a video of 5 GiB that takes no memory, whose cable comes out in the middle of the video.
func ExamplePhone() {
	taken := time.Date(2024, 5, 6, 12, 34, 56, 0, time.UTC)
	inside := vphone.NewStorage("Internal shared storage", 128<<30, nil)
	for path, content := range map[string]vphone.Content{
		"DCIM/Camera/photo.jpg": vphone.Text("a picture"),
		"DCIM/Camera/video.mp4": vphone.Generated(1, 5<<30),
	} {
		if err := inside.Put(path, taken, content); err != nil {
			fmt.Println(err)
		}
	}
	phone := mtp.NewPhone(mtp.Config{Model: "Pixel 9", Storages: []*vphone.Storage{inside}})
	phone.UnplugIn("DCIM/Camera/video.mp4", 3<<30)

	i := phone.Plug() // for a driver to open
	fmt.Println(i.Model, i.MaxPacket)
	phone.Unplug()

	for _, e := range inside.Entries() {
		fmt.Println(e.Path, e.Size)
	}
	// Output:
	// Pixel 9 512
	// DCIM 0
	// DCIM/Camera 0
	// DCIM/Camera/photo.jpg 9
	// DCIM/Camera/video.mp4 5368709120
}
