/*
 * This file is part of linvideo. LGPL 2.1 or later; see LICENSE.
 */

#include "train/reel/things.h"

#include <stdio.h>
#include <string.h>

#include "base/common.h"

static const LvThing things[] = {
    /* animals */
    { 0x1F415, "dog|hound" }, { 0x1F436, "dog face|puppy|dog's head" },
    { 0x1F429, "poodle" }, { 0x1F43A, "wolf|wolf head" }, { 0x1F98A, "fox|fox head" },
    { 0x1F99D, "raccoon" }, { 0x1F408, "cat|house cat" },
    { 0x1F431, "cat face|kitten|cat's head" }, { 0x1F981, "lion|lion head" },
    { 0x1F405, "tiger" }, { 0x1F42F, "tiger face|tiger's head" },
    { 0x1F406, "leopard|cheetah" }, { 0x1F40E, "horse|race horse" },
    { 0x1F434, "horse head|pony" }, { 0x1F984, "unicorn" }, { 0x1F993, "zebra" },
    { 0x1F98C, "deer|stag" }, { 0x1F9AC, "bison|buffalo" }, { 0x1F402, "ox|bull" },
    { 0x1F404, "cow" }, { 0x1F42E, "cow face|calf" }, { 0x1F416, "pig" },
    { 0x1F437, "pig face|piglet" }, { 0x1F417, "boar|wild boar" }, { 0x1F40F, "ram" },
    { 0x1F411, "sheep|lamb|ewe" }, { 0x1F410, "goat" }, { 0x1F42B, "camel" },
    { 0x1F42A, "dromedary" }, { 0x1F999, "llama|alpaca" }, { 0x1F992, "giraffe" },
    { 0x1F418, "elephant" }, { 0x1F9A3, "mammoth" }, { 0x1F98F, "rhinoceros|rhino" },
    { 0x1F99B, "hippopotamus|hippo" }, { 0x1F401, "mouse" }, { 0x1F42D, "mouse face" },
    { 0x1F400, "rat" }, { 0x1F439, "hamster" }, { 0x1F407, "rabbit|bunny" },
    { 0x1F430, "rabbit face|bunny face" }, { 0x1F43F, "squirrel|chipmunk" },
    { 0x1F9AB, "beaver" }, { 0x1F994, "hedgehog" }, { 0x1F987, "bat" },
    { 0x1F43B, "bear|bear face" }, { 0x1F428, "koala" }, { 0x1F43C, "panda|panda bear" },
    { 0x1F9A5, "sloth" }, { 0x1F9A6, "otter" }, { 0x1F9A8, "skunk" },
    { 0x1F998, "kangaroo" }, { 0x1F9A1, "badger" }, { 0x1F412, "monkey" },
    { 0x1F435, "monkey face|chimp" }, { 0x1F98D, "gorilla|ape" }, { 0x1F9A7, "orangutan" },
    { 0x1F43E, "paw prints|paws" }, { 0x1F983, "turkey" }, { 0x1F414, "chicken face|hen" },
    { 0x1F413, "rooster|cock" }, { 0x1F424, "chick|baby chick" },
    { 0x1F423, "hatching chick" }, { 0x1F426, "bird face|bird" }, { 0x1F427, "penguin" },
    { 0x1F54A, "dove|white dove" }, { 0x1F985, "eagle|hawk" }, { 0x1F986, "duck" },
    { 0x1F9A2, "swan" }, { 0x1F989, "owl" }, { 0x1F9A4, "dodo" }, { 0x1FAB6, "feather" },
    { 0x1F9A9, "flamingo" }, { 0x1F99A, "peacock" }, { 0x1F99C, "parrot" },
    { 0x1F438, "frog|toad" }, { 0x1F40A, "crocodile|alligator" },
    { 0x1F422, "turtle|tortoise" }, { 0x1F98E, "lizard|gecko" }, { 0x1F40D, "snake" },
    { 0x1F409, "dragon" }, { 0x1F432, "dragon head" },
    { 0x1F995, "dinosaur|brontosaurus" }, { 0x1F996, "tyrannosaurus|t-rex" },
    { 0x1F433, "whale|spouting whale" }, { 0x1F40B, "blue whale" }, { 0x1F42C, "dolphin" },
    { 0x1F9AD, "seal" }, { 0x1F41F, "fish" }, { 0x1F420, "tropical fish" },
    { 0x1F421, "puffer fish|blowfish" }, { 0x1F988, "shark" }, { 0x1F419, "octopus" },
    { 0x1F41A, "shell|seashell" }, { 0x1FAB8, "coral" }, { 0x1F980, "crab" },
    { 0x1F99E, "lobster" }, { 0x1F990, "shrimp|prawn" }, { 0x1F991, "squid" },
    { 0x1F40C, "snail" }, { 0x1F98B, "butterfly" }, { 0x1F41B, "caterpillar|bug" },
    { 0x1F41C, "ant" }, { 0x1F41D, "bee|honeybee" }, { 0x1FAB2, "beetle" },
    { 0x1F41E, "ladybug|ladybird" }, { 0x1F997, "cricket|grasshopper" },
    { 0x1FAB3, "cockroach" }, { 0x1F577, "spider" }, { 0x1F578, "spider web|cobweb" },
    { 0x1F982, "scorpion" }, { 0x1F99F, "mosquito" }, { 0x1FAB0, "fly|housefly" },
    { 0x1FAB1, "worm|earthworm" }, { 0x1F9A0, "microbe|germ|virus" },
    /* plants */
    { 0x1F490, "bouquet|bunch of flowers" }, { 0x1F338, "cherry blossom|pink flower" },
    { 0x1FAB7, "lotus|water lily" }, { 0x1F339, "rose|red rose" },
    { 0x1F940, "wilted flower" }, { 0x1F33A, "hibiscus" }, { 0x1F33B, "sunflower" },
    { 0x1F33C, "daisy|blossom" }, { 0x1F337, "tulip" }, { 0x1F331, "seedling|sprout" },
    { 0x1FAB4, "potted plant|house plant" },
    { 0x1F332, "fir tree|evergreen tree|pine tree" }, { 0x1F333, "tree|deciduous tree" },
    { 0x1F334, "palm tree|palm" }, { 0x1F335, "cactus" },
    { 0x1F33E, "sheaf of rice|ear of wheat" }, { 0x1F33F, "herb|green branch" },
    { 0x1F340, "four-leaf clover|clover" }, { 0x1F341, "maple leaf|autumn leaf" },
    { 0x1F342, "fallen leaves|dry leaves" },
    { 0x1F343, "green leaves|leaves in the wind" }, { 0x1F344, "mushroom|toadstool" },
    { 0x1F384, "christmas tree" },
    /* food */
    { 0x1F347, "grapes|bunch of grapes" }, { 0x1F348, "melon" },
    { 0x1F349, "watermelon|slice of watermelon" }, { 0x1F34A, "orange fruit|tangerine" },
    { 0x1F34B, "lemon" }, { 0x1F34C, "banana" }, { 0x1F34D, "pineapple" },
    { 0x1F96D, "mango" }, { 0x1F34E, "apple|red apple" }, { 0x1F34F, "green apple" },
    { 0x1F350, "pear" }, { 0x1F351, "peach" }, { 0x1F352, "cherries|pair of cherries" },
    { 0x1F353, "strawberry" }, { 0x1FAD0, "blueberries" }, { 0x1F95D, "kiwi" },
    { 0x1F345, "tomato" }, { 0x1FAD2, "olive" }, { 0x1F965, "coconut" },
    { 0x1F951, "avocado" }, { 0x1F346, "eggplant|aubergine" }, { 0x1F954, "potato" },
    { 0x1F955, "carrot" }, { 0x1F33D, "corn|ear of corn" },
    { 0x1F336, "chili pepper|hot pepper" }, { 0x1FAD1, "bell pepper" },
    { 0x1F952, "cucumber" }, { 0x1F96C, "lettuce|leafy green" }, { 0x1F966, "broccoli" },
    { 0x1F9C4, "garlic" }, { 0x1F9C5, "onion" }, { 0x1F95C, "peanut" },
    { 0x1F330, "chestnut" }, { 0x1F35E, "bread|loaf of bread" }, { 0x1F950, "croissant" },
    { 0x1F956, "baguette" }, { 0x1F968, "pretzel" }, { 0x1F96F, "bagel" },
    { 0x1F95E, "pancakes|stack of pancakes" }, { 0x1F9C7, "waffle" },
    { 0x1F9C0, "cheese|piece of cheese" }, { 0x1F356, "meat on a bone" },
    { 0x1F357, "chicken leg|drumstick" }, { 0x1F969, "steak" }, { 0x1F953, "bacon" },
    { 0x1F354, "hamburger|burger|cheeseburger" }, { 0x1F35F, "french fries|fries" },
    { 0x1F355, "pizza|slice of pizza" }, { 0x1F32D, "hot dog" }, { 0x1F96A, "sandwich" },
    { 0x1F32E, "taco" }, { 0x1F32F, "burrito" }, { 0x1F95A, "egg" },
    { 0x1F373, "fried egg" }, { 0x1F957, "salad|bowl of salad" }, { 0x1F37F, "popcorn" },
    { 0x1F9C8, "butter" }, { 0x1F35A, "bowl of rice|rice" },
    { 0x1F35C, "noodle soup|bowl of noodles" }, { 0x1F35D, "spaghetti|pasta" },
    { 0x1F363, "sushi" }, { 0x1F361, "dango" }, { 0x1F95F, "dumpling" },
    { 0x1F366, "ice cream cone|soft ice cream" },
    { 0x1F368, "ice cream|bowl of ice cream" }, { 0x1F369, "doughnut|donut" },
    { 0x1F36A, "cookie|biscuit" }, { 0x1F382, "birthday cake" },
    { 0x1F370, "piece of cake|cake" }, { 0x1F9C1, "cupcake|muffin" }, { 0x1F967, "pie" },
    { 0x1F36B, "chocolate bar|chocolate" }, { 0x1F36C, "candy|sweet" },
    { 0x1F36D, "lollipop" }, { 0x1F36E, "pudding|custard" },
    { 0x1F36F, "honey pot|honey" }, { 0x1F37C, "baby bottle" },
    { 0x1F95B, "glass of milk|milk" }, { 0x2615, "cup of coffee|coffee|cup of tea" },
    { 0x1FAD6, "teapot" }, { 0x1F37E, "champagne bottle|champagne" },
    { 0x1F377, "glass of wine|wine glass|wine" }, { 0x1F378, "cocktail|martini" },
    { 0x1F379, "tropical drink" }, { 0x1F37A, "beer|mug of beer|glass of beer" },
    { 0x1F942, "champagne glasses|clinking glasses" },
    { 0x1F943, "glass of whisky|whisky" }, { 0x1F964, "soda cup|cup with a straw" },
    { 0x1F9CA, "ice cube|ice" }, { 0x1F374, "fork and knife|cutlery" },
    { 0x1F944, "spoon" }, { 0x1F52A, "kitchen knife|knife" }, { 0x1F3FA, "vase|amphora" },
    /* places */
    { 0x1F3D4, "snowy mountain|mountain with snow" }, { 0x26F0, "mountain" },
    { 0x1F30B, "volcano" }, { 0x1F3D6, "beach|beach with an umbrella" },
    { 0x1F3DD, "island|desert island" }, { 0x1F3DB, "temple|classical building" },
    { 0x1F9F1, "brick" }, { 0x1FAA8, "rock|stone" }, { 0x1FAB5, "log|wood" },
    { 0x1F6D6, "hut" }, { 0x1F3E0, "house|home" }, { 0x1F3E1, "house with a garden" },
    { 0x1F3E2, "office building|tower block" }, { 0x1F3E5, "hospital" },
    { 0x1F3E6, "bank" }, { 0x1F3EB, "school" }, { 0x1F3ED, "factory" },
    { 0x1F3EF, "japanese castle" }, { 0x1F3F0, "castle" }, { 0x1F5FC, "tower|red tower" },
    { 0x1F5FD, "statue of liberty" }, { 0x26EA, "church" }, { 0x1F54C, "mosque" },
    { 0x26E9, "shrine gate|torii" }, { 0x26F2, "fountain" }, { 0x26FA, "tent" },
    { 0x1F3A1, "ferris wheel" }, { 0x1F3A2, "roller coaster" }, { 0x1F3AA, "circus tent" },
    { 0x1F309, "bridge at night|bridge" },
    /* vehicles */
    { 0x1F682, "steam train|locomotive" }, { 0x1F684, "fast train|high-speed train" },
    { 0x1F686, "train" }, { 0x1F68B, "tram|streetcar" }, { 0x1F68C, "bus" },
    { 0x1F691, "ambulance" }, { 0x1F692, "fire engine|fire truck" },
    { 0x1F693, "police car" }, { 0x1F695, "taxi|cab" },
    { 0x1F697, "car|red car|automobile" }, { 0x1F699, "blue car|jeep" },
    { 0x1F6FB, "pickup truck|pickup" }, { 0x1F69A, "truck|delivery truck|lorry" },
    { 0x1F69B, "long truck|big truck" }, { 0x1F69C, "tractor" },
    { 0x1F3CE, "racing car|race car" }, { 0x1F3CD, "motorcycle|motorbike" },
    { 0x1F6F5, "scooter|motor scooter" }, { 0x1F6B2, "bicycle|bike" },
    { 0x1F6F4, "kick scooter" }, { 0x1F6F9, "skateboard" }, { 0x1F6FC, "roller skate" },
    { 0x1F6DE, "wheel|tyre" }, { 0x1F6A5, "traffic light" },
    { 0x1F6A8, "police light|siren" }, { 0x1F6D1, "stop sign" },
    { 0x1F6A7, "road barrier|construction barrier" }, { 0x2693, "anchor" },
    { 0x1F6DF, "lifebuoy|life ring" }, { 0x26F5, "sailing boat|sailboat|sail boat" },
    { 0x1F6F6, "canoe" }, { 0x1F6A4, "speedboat|motor boat" },
    { 0x1F6A2, "ship|cruise ship|boat" }, { 0x2708, "airplane|plane|aeroplane" },
    { 0x1F6E9, "small plane|propeller plane" }, { 0x1FA82, "parachute" },
    { 0x1F681, "helicopter" }, { 0x1F6A0, "cable car|gondola" }, { 0x1F6F0, "satellite" },
    { 0x1F680, "rocket|space rocket|spaceship" }, { 0x1F6F8, "ufo|flying saucer" },
    /* sky */
    { 0x1F315, "full moon" }, { 0x1F319, "crescent moon|crescent" },
    { 0x1F31C, "moon with a face|smiling moon" }, { 0x2600, "sun" },
    { 0x1F31E, "sun with a face|smiling sun" }, { 0x1FA90, "planet|saturn|ringed planet" },
    { 0x1F31F, "glowing star" }, { 0x1F320, "shooting star" },
    { 0x1F30D, "earth|globe|planet earth" }, { 0x2601, "cloud" },
    { 0x26C5, "sun behind a cloud" }, { 0x26C8, "thunderstorm cloud|storm cloud" },
    { 0x1F327, "rain cloud" }, { 0x1F328, "snow cloud" }, { 0x1F32A, "tornado|whirlwind" },
    { 0x1F308, "rainbow" }, { 0x2614, "umbrella in the rain" }, { 0x2602, "umbrella" },
    { 0x26F1, "beach umbrella|parasol" }, { 0x26A1, "lightning bolt|flash|bolt" },
    { 0x2744, "snowflake" }, { 0x26C4, "snowman" }, { 0x2604, "comet" },
    { 0x1F525, "flame" }, { 0x1F4A7, "drop|water drop|drop of water" },
    { 0x1F30A, "big wave|wave" },
    /* things */
    { 0x1F383, "pumpkin|jack-o'-lantern" }, { 0x1F9E8, "firecracker" },
    { 0x2728, "sparkles" }, { 0x1F388, "balloon" }, { 0x1F389, "party popper" },
    { 0x1F390, "wind chime" }, { 0x1F380, "bow|pink bow" },
    { 0x1F381, "present|gift|gift box" }, { 0x1F3C6, "trophy|cup" },
    { 0x1F3C5, "medal|gold medal" }, { 0x1F947, "first prize medal" },
    { 0x26BD, "football|soccer ball" }, { 0x26BE, "baseball" }, { 0x1F3C0, "basketball" },
    { 0x1F3D0, "volleyball" }, { 0x1F3C8, "american football" }, { 0x1F3C9, "rugby ball" },
    { 0x1F3BE, "tennis ball" }, { 0x1F94F, "frisbee" },
    { 0x1F3B3, "bowling pins|bowling" }, { 0x1F3D3, "table tennis bat|ping pong" },
    { 0x1F3F8, "badminton racket|shuttlecock" }, { 0x1F94A, "boxing glove" },
    { 0x26F3, "golf flag" }, { 0x26F8, "ice skate" }, { 0x1F3A3, "fishing rod" },
    { 0x1F3BF, "skis" }, { 0x1F6F7, "sled|sledge" },
    { 0x1F3AF, "bullseye|target|dartboard" }, { 0x1FA80, "yo-yo" }, { 0x1FA81, "kite" },
    { 0x1F3B1, "billiard ball|eight ball" }, { 0x1F52E, "crystal ball" },
    { 0x1FA84, "magic wand" }, { 0x1F3AE, "game controller|gamepad" },
    { 0x1F579, "joystick" }, { 0x1F3B0, "slot machine" }, { 0x1F3B2, "die|dice" },
    { 0x1F9E9, "puzzle piece" }, { 0x1F9F8, "teddy bear|teddy" },
    { 0x1FAA9, "disco ball|mirror ball" }, { 0x1FA86, "nesting dolls|matryoshka" },
    { 0x2660, "spade symbol|spades" }, { 0x2665, "heart card symbol" },
    { 0x2663, "club symbol|clubs" }, { 0x265F, "chess pawn|pawn" },
    { 0x1F0CF, "joker|playing card" }, { 0x1F3AD, "theatre masks|masks" },
    { 0x1F5BC, "picture frame|painting" }, { 0x1F3A8, "palette|artist's palette" },
    { 0x1F9F5, "spool of thread|thread" }, { 0x1F9F6, "ball of yarn|yarn" },
    { 0x1F453, "glasses|spectacles" }, { 0x1F576, "sunglasses" },
    { 0x1F454, "tie|necktie" }, { 0x1F455, "t-shirt|shirt" },
    { 0x1F456, "jeans|trousers" }, { 0x1F9E3, "scarf" }, { 0x1F9E4, "gloves" },
    { 0x1F9E5, "coat" }, { 0x1F9E6, "socks" }, { 0x1F457, "dress" }, { 0x1F459, "bikini" },
    { 0x1F45B, "purse" }, { 0x1F45C, "handbag" }, { 0x1F6CD, "shopping bags" },
    { 0x1F392, "backpack" }, { 0x1F45F, "running shoe|sneaker" },
    { 0x1F45E, "brown shoe|shoe" }, { 0x1F97E, "boot|hiking boot" },
    { 0x1F460, "high heel|high-heeled shoe" }, { 0x1F451, "crown|golden crown" },
    { 0x1F452, "sun hat" }, { 0x1F3A9, "top hat" }, { 0x1F393, "graduation cap" },
    { 0x1F9E2, "cap|baseball cap" }, { 0x1FA96, "helmet" }, { 0x1F484, "lipstick" },
    { 0x1F48D, "diamond ring" }, { 0x1F48E, "gem|jewel|gemstone" },
    { 0x1F50A, "loudspeaker|speaker" }, { 0x1F4E2, "public address speaker" },
    { 0x1F4E3, "megaphone" }, { 0x1F514, "bell|golden bell" },
    { 0x1F3B5, "musical note|note" }, { 0x1F3B6, "musical notes|notes|music" },
    { 0x1F3A4, "microphone" }, { 0x1F399, "studio microphone" }, { 0x1F3A7, "headphones" },
    { 0x1F4FB, "radio" }, { 0x1F3B7, "saxophone" }, { 0x1FA97, "accordion" },
    { 0x1F3B8, "guitar|electric guitar" }, { 0x1F3B9, "piano|piano keys" },
    { 0x1F3BA, "trumpet" }, { 0x1F3BB, "violin" }, { 0x1FA95, "banjo" },
    { 0x1F941, "drum" }, { 0x1F4F1, "phone|mobile phone|smartphone" },
    { 0x260E, "telephone" }, { 0x1F50B, "battery" }, { 0x1F50C, "plug|electric plug" },
    { 0x1F4BB, "laptop|notebook computer" }, { 0x1F5A5, "computer|desktop computer" },
    { 0x1F5A8, "printer" }, { 0x2328, "keyboard" }, { 0x1F5B1, "computer mouse" },
    { 0x1F4BE, "floppy disk" }, { 0x1F4BF, "compact disc|cd" },
    { 0x1F3A5, "film camera|movie camera" }, { 0x1F39E, "film strip" },
    { 0x1F4FD, "film projector|projector" }, { 0x1F3AC, "clapperboard|clapper" },
    { 0x1F4FA, "television|tv" }, { 0x1F4F7, "camera|photo camera" },
    { 0x1F4F9, "video camera|camcorder" }, { 0x1F4FC, "video cassette" },
    { 0x1F50D, "magnifying glass" }, { 0x1F56F, "candle" }, { 0x1F4A1, "light bulb|bulb" },
    { 0x1F526, "flashlight|torch" }, { 0x1F3EE, "lantern|paper lantern" },
    { 0x1F4D6, "open book" }, { 0x1F4D5, "book|red book" },
    { 0x1F4DA, "books|stack of books" }, { 0x1F4DC, "scroll" }, { 0x1F4F0, "newspaper" },
    { 0x1F3F7, "label|price tag" }, { 0x1F4B0, "money bag|bag of money" },
    { 0x1FA99, "coin|gold coin" }, { 0x1F4B5, "banknote|dollar bill" },
    { 0x1F4B8, "flying money" }, { 0x1F4B3, "credit card" }, { 0x270F, "pencil" },
    { 0x1F58A, "pen" }, { 0x1F58C, "paintbrush|brush" }, { 0x1F58D, "crayon" },
    { 0x1F512, "padlock|lock" }, { 0x1F511, "key" }, { 0x1F5DD, "old key" },
    { 0x1F528, "hammer" }, { 0x1FA93, "axe" }, { 0x26CF, "pickaxe|pick" },
    { 0x1F5E1, "dagger" }, { 0x2694, "crossed swords|swords" }, { 0x1F4A3, "bomb" },
    { 0x1FA83, "boomerang" }, { 0x1F3F9, "bow and arrow" }, { 0x1F6E1, "shield" },
    { 0x1FA9A, "saw" }, { 0x1F527, "wrench|spanner" }, { 0x1FA9B, "screwdriver" },
    { 0x1F529, "nut and bolt|screw" }, { 0x2699, "gear|cogwheel" },
    { 0x2696, "scales|balance" }, { 0x1F517, "chain link" }, { 0x1FA9D, "hook" },
    { 0x1F9F0, "toolbox" }, { 0x1F9F2, "magnet" }, { 0x1FA9C, "ladder" },
    { 0x1F9EA, "test tube" }, { 0x1F9EC, "dna|double helix" }, { 0x1F52C, "microscope" },
    { 0x1F52D, "telescope" }, { 0x1F4E1, "satellite dish|antenna" },
    { 0x1F489, "syringe" }, { 0x1F48A, "pill" }, { 0x1F6AA, "door" },
    { 0x1FA9F, "window" }, { 0x1F6CF, "bed" }, { 0x1F6CB, "sofa|couch" },
    { 0x1FA91, "chair" }, { 0x1F6BF, "shower" }, { 0x1F6C1, "bathtub" },
    { 0x1F9F9, "broom" }, { 0x1F9FA, "basket" }, { 0x1FAA3, "bucket" },
    { 0x1F9FC, "soap" }, { 0x1FAA5, "toothbrush" }, { 0x1F9FD, "sponge" },
    { 0x1F6D2, "shopping cart|shopping trolley" }, { 0x1F5FF, "moai|stone head" },
    { 0x1F9ED, "compass" }, { 0x1F6CE, "desk bell" }, { 0x1F9F3, "suitcase|luggage" },
    { 0x231B, "hourglass|sand clock" }, { 0x231A, "watch|wristwatch" },
    { 0x23F0, "alarm clock" }, { 0x23F1, "stopwatch" }, { 0x1F570, "old clock" },
    { 0x1F550, "clock|wall clock" }, { 0x2709, "envelope|letter" },
    { 0x1F4E6, "package|parcel|cardboard box" }, { 0x1F4EE, "postbox|mailbox" },
    { 0x1F4BC, "briefcase" }, { 0x1F4C1, "folder" }, { 0x1F4C5, "calendar" },
    { 0x1F4C8, "rising chart|chart" }, { 0x1F4CA, "bar chart" },
    { 0x1F4CC, "pushpin|pin" }, { 0x1F4CE, "paperclip" }, { 0x1F4D0, "set square|ruler" },
    { 0x2702, "scissors" }, { 0x1F5D1, "waste basket|bin" }, { 0x1F573, "hole" },
    { 0x1F4AC, "speech bubble" }, { 0x1F4AD, "thought bubble" },
    { 0x1F4A5, "explosion|bang" },
    /* faces */
    { 0x1F600, "grinning face|happy face" },
    { 0x1F602, "laughing face|face with tears of joy" },
    { 0x1F60A, "smiling face|smiley|smile" }, { 0x1F609, "winking face|wink" },
    { 0x1F607, "angel face|face with a halo" },
    { 0x1F60D, "face with heart eyes|face in love" },
    { 0x1F618, "kissing face|face blowing a kiss" },
    { 0x1F61B, "face with its tongue out" }, { 0x1F60E, "face with sunglasses|cool face" },
    { 0x1F913, "nerd face" }, { 0x1F914, "thinking face" },
    { 0x1F634, "sleeping face|sleepy face" }, { 0x1F637, "face with a mask" },
    { 0x1F92F, "exploding head" }, { 0x1F920, "cowboy face|cowboy" },
    { 0x1F973, "party face" }, { 0x1F610, "neutral face" }, { 0x1F615, "confused face" },
    { 0x1F62E, "surprised face" }, { 0x1F622, "crying face|sad face" },
    { 0x1F62D, "loudly crying face" }, { 0x1F631, "screaming face" },
    { 0x1F621, "angry face" }, { 0x1F608, "devil face|devil" }, { 0x1F480, "skull" },
    { 0x1F4A9, "pile of poo|poo" }, { 0x1F921, "clown face|clown" }, { 0x1F479, "ogre" },
    { 0x1F47B, "ghost" }, { 0x1F47D, "alien" }, { 0x1F47E, "space invader|pixel monster" },
    { 0x1F916, "robot|robot face" },
    /* symbols */
    { 0x2764, "red heart symbol|love symbol" }, { 0x1F494, "broken heart" },
    { 0x1F498, "heart with an arrow" }, { 0x1F49D, "heart with a ribbon" },
    { 0x1F495, "two hearts" }, { 0x1F4AF, "hundred points|one hundred" },
    { 0x1F4A4, "sleep symbol|zzz" }, { 0x2705, "check mark button|green check mark" },
    { 0x2714, "check mark|tick" }, { 0x274C, "cross mark|red x" },
    { 0x2753, "question mark" }, { 0x2757, "exclamation mark" }, { 0x2795, "plus symbol" },
    { 0x267B, "recycling symbol|recycling arrows" }, { 0x269B, "atom symbol|atom" },
    { 0x262F, "yin yang" }, { 0x262E, "peace symbol|peace sign" },
    { 0x2622, "radioactive sign" }, { 0x2623, "biohazard sign" },
    { 0x26A0, "warning sign|warning triangle" }, { 0x26D4, "no entry sign" },
    { 0x1F6AB, "prohibition sign|forbidden sign" }, { 0x267E, "infinity symbol|infinity" },
    { 0x27A1, "right arrow|arrow pointing right" },
    { 0x2B05, "left arrow|arrow pointing left" }, { 0x2B06, "up arrow|arrow pointing up" },
    { 0x2B07, "down arrow|arrow pointing down" },
    { 0x1F504, "circular arrows|refresh symbol" }, { 0x25B6, "play button" },
    { 0x23F8, "pause button" }, { 0x23FA, "record button" }, { 0x1F531, "trident" },
    { 0xA9, "copyright sign" },
};

int lv_things(void)
{
    return LV_COUNT(things);
}

const LvThing *lv_thing(int i)
{
    return &things[i];
}

/* Words whose plural no rule gives. */
static const char *const plurals[][2] = {
    { "mouse", "mice" }, { "goose", "geese" }, { "leaf", "leaves" }, { "wolf", "wolves" },
    { "knife", "knives" }, { "loaf", "loaves" }, { "scarf", "scarves" },
    { "foot", "feet" }, { "die", "dice" },
};

/* Words that are their own plural, or have none. */
static const char *const unchanged[] = {
    "fish", "deer", "sheep", "bison", "squid", "jeans", "skis", "scissors", "glasses",
    "sunglasses", "trousers", "dice", "popcorn", "coffee", "milk", "rice", "music",
    "cutlery", "headphones", "sushi", "money", "spaghetti", "pasta", "luggage", "shrimp",
    "corn", "garlic", "wood", "ice", "honey", "bread", "bacon", "chocolate", "fries",
};

static int is_word(const char *s, size_t n, const char *word)
{
    return strlen(word) == n && !memcmp(s, word, n);
}

/* Letters of the word that a name is about: "slice" of "slice of pizza". */
static void head(const char *name, size_t *from, size_t *to)
{
    static const char *const joints[] = { " of ", " on ", " in ", " with ", " behind ",
                                          " pointing ", " at ", "-o'-" };

    *to = strlen(name);
    for (int i = 0; i < LV_COUNT(joints); i++) {
        const char *at = strstr(name, joints[i]);

        if (at)
            *to = LV_MIN(*to, (size_t)(at - name));
    }
    *from = *to;
    while (*from > 0 && name[*from - 1] != ' ')
        --*from;
}

/* What a regular plural appends; *cut letters go first. */
static const char *ending(const char *s, size_t n, size_t *cut)
{
    char last = s[n - 1], before = n > 1 ? s[n - 2] : ' ';

    *cut = 0;
    if (last == 's' && (before != 's' && before != 'u'))
        return "";
    if (last == 's' || last == 'x' || last == 'z' ||
        (last == 'h' && (before == 'c' || before == 's')))
        return "es";
    if (last == 'y' && !strchr("aeiou", before)) {
        *cut = 1;
        return "ies";
    }
    return "s";
}

void lv_thing_plural(char *buf, size_t size, const char *name)
{
    size_t from, to, cut;
    const char *end;

    head(name, &from, &to);
    for (int i = 0; i < LV_COUNT(plurals); i++)
        if (is_word(name + from, to - from, plurals[i][0])) {
            snprintf(buf, size, "%.*s%s%s", (int)from, name, plurals[i][1], name + to);
            return;
        }
    for (int i = 0; i < LV_COUNT(unchanged); i++)
        if (is_word(name + from, to - from, unchanged[i])) {
            snprintf(buf, size, "%s", name);
            return;
        }
    end = ending(name + from, to - from, &cut);
    snprintf(buf, size, "%.*s%s%s", (int)(to - cut), name, end, name + to);
}

int lv_thing_is_many(int i)
{
    char name[LV_THING_NAME_SIZE], plural[LV_THING_NAME_SIZE];
    const char *names = things[i].names;
    size_t n;

    snprintf(name, sizeof(name), "%.*s", (int)strcspn(names, "|"), names);
    lv_thing_plural(plural, sizeof(plural), name);
    n = strlen(name);
    return !strcmp(name, plural) && n && name[n - 1] == 's';
}
