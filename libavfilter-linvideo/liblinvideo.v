LINVIDEO_0 {
    global: linvideo_*;
    local: *;
};
